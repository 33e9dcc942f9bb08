"""The pages in a real browser: what a person sees and presses."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from mlflow_governance.core.stage import Stage
from tests.unit.web.builders import Registry, registry, scientist

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
)


class Browser:
    """A person at a browser, looking at one registry."""

    def __init__(self, driver: webdriver.Chrome, governed: Registry, base: str) -> None:
        self.driver, self.governed, self.base = driver, governed, base

    def open(self, path: str) -> None:
        self.driver.get(self.base + path)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def follow(self, element: WebElement) -> None:
        """Press what leads to another page, and wait until that one is there."""
        old = self.find("html")
        element.click()
        wait = WebDriverWait(self.driver, 10, ignored_exceptions=[WebDriverException])
        wait.until(expected.staleness_of(old))
        wait.until(lambda d: d.execute_script("return document.readyState") == "complete")

    def told(self, part: str) -> str:
        """What the page answers, once it does."""
        shown = expected.text_to_be_present_in_element((By.ID, "told"), part)
        # The page may be reloading under the question, which the driver reports in many words.
        WebDriverWait(self.driver, 10, ignored_exceptions=[WebDriverException]).until(shown)
        return self.find("#told").text

    def complaints(self) -> list[str]:
        """What the browser itself objected to, such as a blocked script."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile: Path = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield started
    started.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    governed = registry()
    governed.add("churn", 1, Stage.STAGING)
    governed.add("<img src=x onerror=alert(1)>", 1, Stage.CANDIDATE)
    server = make_server("127.0.0.1", 0, governed.app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    driver.get_log("browser")
    yield Browser(driver, governed, f"http://127.0.0.1:{server.server_port}")
    driver.get("about:blank")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_person_finds_a_version_and_sees_what_it_lacks(browser: Browser) -> None:
    browser.open("/governance")
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert len(rows) == 2

    browser.find("input[name=name]").send_keys("churn")
    Select(browser.find("select[name=stage]")).select_by_visible_text("Staging")
    browser.follow(browser.find("form.filter button"))
    browser.follow(browser.driver.find_element(By.LINK_TEXT, "churn"))

    assert browser.find("#stage").text == "Staging"
    assert "PRO-007" in browser.find("section[aria-labelledby=missing-title]").text
    assert browser.driver.find_elements(By.CSS_SELECTOR, "pre.command button.copy")
    assert browser.complaints() == []


def test_an_approval_is_pressed_and_seen(browser: Browser) -> None:
    browser.open("/governance/version?name=churn&version=1")
    browser.find("#approve-reason").send_keys("Reviewed the <b>evaluation</b>.")
    browser.find("#approve").click()

    assert browser.told("Your approval is recorded.")
    shown = browser.find("section[aria-labelledby=approvals-title] ul").text
    assert "ann" in shown
    assert "Reviewed the <b>evaluation</b>." in shown
    assert [word.person for word in next(iter(browser.governed.store.words.values()))] == ["ann"]
    assert browser.complaints() == []


def test_a_revocation_needs_a_reason_and_a_second_thought(browser: Browser) -> None:
    browser.open("/governance/version?name=churn&version=1")
    browser.find("#revoke").click()
    assert browser.find("#stage").text == "Staging"  # the browser asks for the reason

    browser.find("#withdraw-reason").send_keys("CVE-2026-1234")
    browser.find("#revoke").click()
    browser.driver.switch_to.alert.dismiss()
    assert browser.governed.store.ledger == []

    browser.find("#revoke").click()
    browser.driver.switch_to.alert.accept()

    assert browser.told("It is revoked.")
    assert browser.find("#stage").text == "Revoked"
    assert "CVE-2026-1234" in browser.find("table.timeline").text
    assert not browser.driver.find_elements(By.ID, "revoke")


def test_a_refusal_is_shown_word_for_word(browser: Browser) -> None:
    browser.open("/governance/version?name=churn&version=1")
    browser.governed.actor = scientist("joe")  # loses the role while the page is open
    browser.find("#approve-reason").send_keys("x")
    browser.find("#approve").click()

    told = browser.told("may not approve")
    assert "DUTY-ROLE the role security is not held (held: none)" in told
    assert browser.find("#told").get_attribute("role") == "alert"
    assert browser.find("#approve").is_enabled()


def test_a_version_is_judged_again_and_says_what_fails(browser: Browser) -> None:
    browser.governed.examiner.outcomes.clear()
    browser.open("/governance/version?name=churn&version=1")
    browser.find("#judge").click()

    assert "PRO-003" in browser.told("It does not pass")


def test_nothing_spills_over_on_a_phone(browser: Browser) -> None:
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for path in ("/governance", "/governance/version?name=churn&version=1"):
            browser.open(path)
            width = browser.driver.execute_script("return document.documentElement.scrollWidth")
            assert width == 390
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
