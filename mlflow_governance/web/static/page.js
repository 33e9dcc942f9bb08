"use strict";
// Posts forms as JSON, shows what the registry answers word for word, and copies commands.

const told = document.getElementById("told");
const KEPT = "governance-told";

function tell(text, good) {
  told.textContent = text;
  told.classList.toggle("good", good);
  told.classList.toggle("wrong", !good);
  told.setAttribute("role", good ? "status" : "alert");
  told.hidden = false;
  told.scrollIntoView({ block: "nearest" });
}

function refusal(answer) {
  const parts = [answer.message, answer.advice].filter(Boolean);
  return parts.length ? parts.join("\n") : "The registry refused, and said nothing more.";
}

async function post(url, body) {
  const response = await fetch(url, {
    method: "POST",
    mode: "same-origin",
    credentials: "same-origin",
    redirect: "error",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { message: response.status + " " + text.slice(0, 500) };
  }
  if (!response.ok) {
    throw new Error(refusal(answer));
  }
  return answer;
}

function verdict(answer, done) {
  if (!answer.decision || answer.decision.allow) {
    return { text: done, good: true };
  }
  const failed = answer.decision.reasons.map((r) => r.code + " " + r.message);
  return { text: done + " It does not pass:\n" + failed.join("\n"), good: false };
}

async function act(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = event.submitter;
  const ask = button.dataset.confirm;
  if (ask && !window.confirm(ask)) {
    return;
  }
  const body = { ...JSON.parse(form.dataset.body), ...Object.fromEntries(new FormData(form)) };
  button.disabled = true;
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await post(button.dataset.post || form.dataset.post, body);
    const outcome = verdict(answer, button.dataset.done || form.dataset.done);
    sessionStorage.setItem(KEPT, JSON.stringify(outcome));
    window.location.reload();
  } catch (error) {
    tell(error.message, false);
    button.disabled = false;
    form.removeAttribute("aria-busy");
  }
}

function copyable(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Without TLS there is no clipboard; leave the command selected instead.
      window.getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}

for (const form of document.querySelectorAll("form.act")) {
  form.addEventListener("submit", act);
}
for (const block of document.querySelectorAll("pre.command")) {
  copyable(block);
}
const kept = told && sessionStorage.getItem(KEPT);
if (kept) {
  sessionStorage.removeItem(KEPT);
  const outcome = JSON.parse(kept);
  tell(outcome.text, outcome.good);
}
