"""Every route MLflow is known to serve, and what it can reach.

Read it as a reviewer: a group says what its routes reach and which gate decides there. A line is
``METHODS path``. ``*/`` stands for ``/api/`` and ``/ajax-api/``, ``a|b`` for either word, and
``{x}`` for one segment, ``{x:path}`` for several. Nothing else is a pattern: a route MLflow adds
matches no line here, however it is named. Written for MLflow 3.14 to 3.18.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reach(StrEnum):
    """The worst a route could do if no gate stood behind it."""

    BYTES = "BYTES"
    """Hands out, changes or deletes files below the artifact destination, or links to them."""
    STATE = "STATE"
    """Changes the model registry, or what a registered version stands on."""
    READ = "READ"
    """Tells of models, runs or files, and hands out none."""
    HARMLESS = "HARMLESS"
    """Has nothing to do with models."""
    HOST = "HOST"
    """Runs programs on the server's host as the server itself, past every gate there is."""


@dataclass(frozen=True)
class Group:
    """Routes that reach the same thing and pass the same gate.

    Args:
        reach: the class.
        about: what the routes are for.
        gate: what decides; for routes that change the registry, the methods of its store.
        lines: ``METHODS path``, one a line.
    """

    reach: Reach
    about: str
    gate: str
    lines: str


UPGRADE = "Upgrade mlflow-governance, or pin mlflow to a version it knows."
"""What mends a refusal of something that MLflow added."""

ACCOUNTS = "users and roles: who may approve"
"""What the routes are for whose use is recorded as ``account.changed``."""

MOUNT = "MOUNT"
WEBSOCKET = "WEBSOCKET"
QUERY = "QUERY"
MUTATION = "MUTATION"
"""Stand where a method stands: for mounted applications, web sockets, fields of GraphQL."""

_GUARD = "artifact guard"

GROUPS: tuple[Group, ...] = (
    # Bytes ------------------------------------------------------------------------------------
    Group(
        Reach.BYTES,
        "the proxy in front of the artifact destination",
        _GUARD,
        """
        GET PUT DELETE */2.0/mlflow-artifacts/artifacts/{artifact_path:path}
        POST */2.0/mlflow-artifacts/mpu/create|complete|abort/{artifact_path:path}
        GET */2.0/mlflow-artifacts/presigned/{artifact_path:path}
        """,
    ),
    Group(
        Reach.BYTES,
        "artifacts of runs and logged models; experiments outside the destination included",
        _GUARD,
        """
        GET /get-artifact
        GET /ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files
        POST /ajax-api/2.0/mlflow/upload-artifact
        POST */2.0/mlflow/artifacts/presigned-upload-url|presigned-download-url
        """,
    ),
    Group(
        Reach.BYTES,
        "artifacts of a version",
        "get_model_version_download_uri, artifact guard",
        "GET /model-versions/get-artifact",
    ),
    Group(
        Reach.BYTES,
        "files of a trace, at a location that its tag mlflow.artifactLocation names",
        _GUARD,
        "GET /ajax-api/2.0|3.0/mlflow/get-trace-artifact",
    ),
    Group(
        Reach.BYTES,
        "writes a model into a new run",
        _GUARD,
        "POST /ajax-api/2.0/mlflow/runs/create-promptlab-run",
    ),
    Group(
        Reach.BYTES,
        "where the bytes of a version are",
        "get_model_version_download_uri",
        "GET */2.0/mlflow/model-versions/get-download-uri",
    ),
    Group(
        Reach.BYTES,
        "skills, whose files lie below the artifact destination (MLflow 3.18)",
        _GUARD,
        """
        POST */3.0/mlflow/skills/{name}/versions
        POST */3.0/mlflow/skills/@{organization}/{name}/versions
        DELETE */3.0/mlflow/skills/{name}
        DELETE */3.0/mlflow/skills/@{organization}/{name}
        """,
    ),
    # State ------------------------------------------------------------------------------------
    Group(
        Reach.STATE,
        "registered models",
        "create_registered_model, update_registered_model, rename_registered_model, "
        "delete_registered_model, set_registered_model_tag, delete_registered_model_tag",
        """
        POST */2.0/mlflow/registered-models/create|rename|set-tag
        PATCH */2.0/mlflow/registered-models/update
        DELETE */2.0/mlflow/registered-models/delete|delete-tag
        """,
    ),
    Group(
        Reach.STATE,
        "aliases",
        "set_registered_model_alias, delete_registered_model_alias",
        "POST DELETE */2.0/mlflow/registered-models/alias",
    ),
    Group(
        Reach.STATE,
        "model versions",
        "create_model_version, update_model_version, transition_model_version_stage, "
        "delete_model_version, set_model_version_tag, delete_model_version_tag",
        """
        POST */2.0/mlflow/model-versions/create|transition-stage|set-tag
        PATCH */2.0/mlflow/model-versions/update
        DELETE */2.0/mlflow/model-versions/delete|delete-tag
        """,
    ),
    Group(
        Reach.STATE,
        "MLflow's own webhooks",
        "create_webhook, update_webhook, delete_webhook",
        """
        POST */2.0/mlflow/webhooks
        PATCH DELETE */2.0/mlflow/webhooks/{webhook_id}
        """,
    ),
    Group(
        Reach.STATE,
        "experiments, runs and logged models: the ground a version stands on",
        "tracking store: create_experiment, delete_experiment, restore_experiment, "
        "delete_run, restore_run, delete_logged_model",
        """
        POST */2.0/mlflow/experiments/create|delete|restore|update
        POST */2.0/mlflow/runs/delete|restore
        DELETE */2.0/mlflow/logged-models/{model_id}
        """,
    ),
    Group(
        Reach.STATE,
        "workspaces, each with an artifact root of its own",
        "workspace store",
        """
        POST */3.0/mlflow/workspaces
        PATCH DELETE */3.0/mlflow/workspaces/{workspace_name}
        """,
    ),
    Group(
        Reach.STATE,
        "jobs on the server's host, off by default, and demonstrations; they register prompts",
        "registry store, in the job's own process",
        """
        POST /ajax-api/3.0/mlflow/demo/generate|delete
        POST /ajax-api/3.0/jobs/
        POST */3.0/mlflow/prompt-optimization/jobs
        """,
    ),
    Group(
        Reach.STATE,
        ACCOUNTS,
        "MLflow's basic-auth; each change is recorded",
        """
        GET /signup
        POST /api/2.0/mlflow/users/create-ui
        POST */2.0/mlflow/users/create
        PATCH */2.0/mlflow/users/update-password|update-admin
        DELETE */2.0/mlflow/users/delete
        POST */3.0/mlflow/roles/create|assign
        PATCH */3.0/mlflow/roles/update
        DELETE */3.0/mlflow/roles/delete|unassign
        POST */3.0/mlflow/roles/permissions/add
        PATCH */3.0/mlflow/roles/permissions/update
        DELETE */3.0/mlflow/roles/permissions/remove
        POST */3.0/mlflow/users/permissions/grant|revoke
        """,
    ),
    # Host -------------------------------------------------------------------------------------
    Group(
        Reach.HOST,
        "the assistant's tools, a shell among them, for whoever seems to be on that host",
        "refused where people log in",
        """
        PUT /ajax-api/3.0/mlflow/assistant/config
        POST /ajax-api/3.0/mlflow/assistant/message
        GET /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/stream
        POST /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/permission|tool-result
        PATCH /ajax-api/3.0/mlflow/assistant/sessions/{session_id}
        POST /ajax-api/3.0/mlflow/assistant/skills/install
        """,
    ),
    # Read -------------------------------------------------------------------------------------
    Group(
        Reach.READ,
        "the model registry",
        "registry store: get_*, search_*, list_*",
        """
        GET */2.0/mlflow/registered-models/get|search|alias
        GET POST */2.0/mlflow/registered-models/get-latest-versions
        GET */2.0/mlflow/model-versions/get|search
        GET */2.0/mlflow/webhooks
        GET */2.0/mlflow/webhooks/{webhook_id}
        POST */2.0/mlflow/webhooks/{webhook_id}/test
        """,
    ),
    Group(
        Reach.READ,
        "experiments, runs, logged models",
        "MLflow's permissions",
        """
        GET */2.0/mlflow/experiments/get|get-by-name
        GET POST */2.0/mlflow/experiments/search
        POST */2.0mlflow/experiments/search-datasets
        POST /ajax-api/2.0/mlflow/experiments/search-datasets
        GET */2.0/mlflow/runs/get
        POST */2.0/mlflow/runs/search
        GET */2.0/mlflow/metrics/get-history|get-history-bulk-interval
        GET /ajax-api/2.0/mlflow/metrics/get-history-bulk
        GET */2.0/mlflow/logged-models/{model_id}
        POST */2.0/mlflow/logged-models/search
        GET */3.0/mlflow/workspaces
        GET */3.0/mlflow/workspaces/{workspace_name}
        """,
    ),
    Group(
        Reach.READ,
        "names and sizes of artifacts",
        "MLflow's permissions",
        """
        GET */2.0/mlflow/artifacts/list
        GET */2.0/mlflow-artifacts/artifacts
        GET */2.0/mlflow/logged-models/{model_id}/artifacts/directories
        """,
    ),
    Group(
        Reach.READ,
        "the user interface's questions; each field of the schema is listed by itself",
        "the stores behind the fields",
        """
        GET POST /graphql
        QUERY mlflowGetExperiment|mlflowGetRun|mlflowSearchRuns|mlflowSearchModelVersions
        QUERY mlflowGetMetricHistoryBulkInterval|mlflowListArtifacts|test
        MUTATION mlflowSearchRuns|mlflowSearchDatasets|testMutation
        """,
    ),
    Group(
        Reach.READ,
        "users and roles",
        "MLflow's basic-auth",
        """
        GET */2.0/mlflow/users/get|list|current
        GET */3.0/mlflow/roles/get|list
        GET */3.0/mlflow/roles/permissions/list
        GET */3.0/mlflow/roles/users/list
        GET */3.0/mlflow/users/roles/list
        GET */3.0/mlflow/users/current/permissions
        GET */3.0/mlflow/users/permissions/get|list
        """,
    ),
    # Harmless ---------------------------------------------------------------------------------
    Group(
        Reach.HARMLESS,
        "the Flask application itself, whose routes are checked one by one",
        "this inventory",
        "MOUNT flask",
    ),
    Group(
        Reach.HARMLESS,
        "pages, health, versions, counters",
        "",
        """
        GET /
        GET /static-files/{path:path}
        GET /build/{filename:path}
        GET /health|version|metrics
        GET */3.0/mlflow/server-info
        GET POST /ajax-api/3.0/mlflow/ui-telemetry
        """,
    ),
    Group(
        Reach.HARMLESS,
        "what is written down of experiments, runs and logged models",
        "MLflow's permissions",
        """
        POST */2.0/mlflow/experiments/set-experiment-tag|delete-experiment-tag
        POST */2.0/mlflow/runs/create|update|set-tag|delete-tag|log-metric|log-parameter
        POST */2.0/mlflow/runs/log-batch|log-inputs|log-model|outputs
        POST */2.0/mlflow/logged-models
        PATCH */2.0/mlflow/logged-models/{model_id}
        POST */2.0/mlflow/logged-models/{model_id}/params
        PATCH */2.0/mlflow/logged-models/{model_id}/tags
        DELETE */2.0/mlflow/logged-models/{model_id}/tags/{tag_key}
        """,
    ),
    Group(
        Reach.HARMLESS,
        "traces, assessments, issues, labels, reviews",
        "MLflow's permissions",
        """
        POST /v1/traces
        GET POST */2.0/mlflow/traces
        PATCH */2.0/mlflow/traces/{trace_id}
        GET */2.0/mlflow/traces/{trace_id}/info
        PATCH DELETE */2.0|3.0/mlflow/traces/{trace_id}/tags
        POST */2.0/mlflow/traces/link-to-run|link-prompts
        POST */2.0|3.0/mlflow/traces/delete-traces
        GET */2.0/mlflow/unified-traces|get-online-trace-details
        POST */3.0/mlflow/traces
        GET */3.0/mlflow/traces/{trace_id}
        GET */3.0/mlflow/traces/get|batchGet
        POST */3.0/mlflow/traces/search|batchGetInfos|calculate-filter-correlation|metrics
        POST */3.0/mlflow/traces/{trace_id}/assessments
        GET PATCH DELETE */3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}
        POST */3.0/mlflow/issues
        GET PATCH */3.0/mlflow/issues/{issue_id}
        POST */3.0/mlflow/issues/search
        POST /ajax-api/3.0/mlflow/issues/invoke
        POST /ajax-api/3.0/mlflow/issues/schedule/state
        POST */3.0/mlflow/label-schemas/create
        GET */3.0/mlflow/label-schemas/get|get-by-name|list
        PATCH */3.0/mlflow/label-schemas/update
        DELETE */3.0/mlflow/label-schemas/delete
        POST */3.0/mlflow/review-queues/create|get-or-create-user|update|delete
        GET */3.0/mlflow/review-queues/get|get-by-name|list
        POST */3.0/mlflow/review-queues/items/add|remove|set-status
        GET */3.0/mlflow/review-queues/items/list
        """,
    ),
    Group(
        Reach.HARMLESS,
        "evaluation: datasets and scorers; scorers with code of their own are off by default",
        "MLflow's permissions",
        """
        POST */3.0/mlflow/datasets/create
        GET POST */3.0/mlflow/datasets/search
        GET DELETE */3.0/mlflow/datasets/{dataset_id}
        PATCH */3.0/mlflow/datasets/{dataset_id}/tags
        DELETE */3.0/mlflow/datasets/{dataset_id}/tags/{key}
        GET POST DELETE */3.0/mlflow/datasets/{dataset_id}/records
        GET */3.0/mlflow/datasets/{dataset_id}/experiment-ids
        POST */3.0/mlflow/datasets/{dataset_id}/add-experiments|remove-experiments
        POST */3.0/mlflow/scorers/register
        GET */3.0/mlflow/scorers/list|versions|get|online-configs
        DELETE */3.0/mlflow/scorers/delete
        PUT */3.0/mlflow/scorers/online-config
        POST /ajax-api/3.0/mlflow/scorer/invoke
        POST /ajax-api/3.0/mlflow/genai/evaluate/invoke
        """,
    ),
    Group(
        Reach.HARMLESS,
        "how jobs fare",
        "MLflow's permissions",
        """
        GET /ajax-api/3.0/jobs/{job_id}
        POST /ajax-api/3.0/jobs/search
        PATCH /ajax-api/3.0/jobs/cancel/{job_id}
        GET /ajax-api/3.0/mlflow/jobs/{job_id}
        PATCH /ajax-api/3.0/mlflow/jobs/cancel/{job_id}
        GET POST */3.0/mlflow/prompt-optimization/jobs/search
        GET DELETE */3.0/mlflow/prompt-optimization/jobs/{job_id}
        POST */3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel
        """,
    ),
    Group(
        Reach.HARMLESS,
        "the gateway to language models of others",
        "MLflow's permissions",
        """
        GET POST /ajax-api/2.0/mlflow/gateway-proxy
        POST /gateway/{endpoint_name}/mlflow/invocations
        POST /gateway/proxy/{endpoint_name}/{path:path}
        GET /gateway/mlflow/v1/models
        POST /gateway/mlflow/v1/chat/completions
        POST /gateway/openai/v1/chat/completions
        POST /gateway/openai/v1/embeddings|responses
        POST /gateway/openai/v1/responses/compact
        POST /gateway/anthropic/v1/messages
        POST /gateway/typesafe/v1/systemone
        POST /gateway/gemini/v1beta/models/{endpoint_name}:generateContent
        POST /gateway/gemini/v1beta/models/{endpoint_name}:streamGenerateContent
        GET /ajax-api/3.0/mlflow/gateway/supported-providers|supported-models|provider-config
        GET /ajax-api/3.0/mlflow/gateway/secrets/config
        POST */3.0/mlflow/gateway/secrets|endpoints|model-definitions|budgets/create|update
        GET */3.0/mlflow/gateway/secrets|endpoints|model-definitions|budgets|guardrails/get|list
        DELETE */3.0/mlflow/gateway/secrets|endpoints|model-definitions|budgets|guardrails/delete
        POST */3.0/mlflow/gateway/endpoints/models/attach|detach
        POST */3.0/mlflow/gateway/endpoints/bindings/create
        GET */3.0/mlflow/gateway/endpoints/bindings/list
        DELETE */3.0/mlflow/gateway/endpoints/bindings/delete
        POST */3.0/mlflow/gateway/endpoints/set-tag
        DELETE */3.0/mlflow/gateway/endpoints/delete-tag
        GET */3.0/mlflow/gateway/budgets/windows
        POST */3.0/mlflow/gateway/guardrails/create|add-to-endpoint
        GET */3.0/mlflow/gateway/guardrails/list-for-endpoint
        PATCH */3.0/mlflow/gateway/guardrails/update-config
        DELETE */3.0/mlflow/gateway/guardrails/remove-from-endpoint
        """,
    ),
    Group(
        Reach.HARMLESS,
        "the catalogue of MCP servers: addresses, no files",
        "MLflow's permissions",
        """
        GET POST */3.0/mlflow/mcp-servers
        GET */3.0/mlflow/mcp-servers/endpoints
        GET PATCH DELETE */3.0/mlflow/mcp-servers/{name:path}
        POST */3.0/mlflow/mcp-servers/{name:path}/aliases|tags
        GET DELETE */3.0/mlflow/mcp-servers/{name:path}/aliases/{alias:path}
        DELETE */3.0/mlflow/mcp-servers/{name:path}/tags/{key:path}
        GET POST */3.0/mlflow/mcp-servers/{name:path}/endpoints|versions
        GET PATCH DELETE */3.0/mlflow/mcp-servers/{name:path}/endpoints/{endpoint_id}
        GET PATCH DELETE */3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}
        POST */3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}/tags
        DELETE */3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}/tags/{key:path}
        """,
    ),
    Group(
        Reach.HARMLESS,
        "the catalogue of skills (MLflow 3.18)",
        "MLflow's permissions",
        """
        GET POST */3.0/mlflow/skills
        POST */3.0/mlflow/skills/bulk-register
        GET PATCH */3.0/mlflow/skills/{name}
        GET PATCH */3.0/mlflow/skills/@{organization}/{name}
        GET */3.0/mlflow/skills/{name}/versions
        GET */3.0/mlflow/skills/@{organization}/{name}/versions
        GET PATCH DELETE */3.0/mlflow/skills/{name}/versions/{version}
        GET PATCH DELETE */3.0/mlflow/skills/@{organization}/{name}/versions/{version}
        POST */3.0/mlflow/skills/{name}/aliases|tags
        POST */3.0/mlflow/skills/@{organization}/{name}/aliases|tags
        GET DELETE */3.0/mlflow/skills/{name}/aliases/{alias}
        GET DELETE */3.0/mlflow/skills/@{organization}/{name}/aliases/{alias}
        DELETE */3.0/mlflow/skills/{name}/tags/{key:path}
        DELETE */3.0/mlflow/skills/@{organization}/{name}/tags/{key:path}
        POST */3.0/mlflow/skills/{name}/versions/{version}/tags
        POST */3.0/mlflow/skills/@{organization}/{name}/versions/{version}/tags
        DELETE */3.0/mlflow/skills/{name}/versions/{version}/tags/{key:path}
        DELETE */3.0/mlflow/skills/@{organization}/{name}/versions/{version}/tags/{key:path}
        """,
    ),
    Group(
        Reach.HARMLESS,
        "what the assistant can do",
        "MLflow's check of the caller's address",
        """
        GET /ajax-api/3.0/mlflow/assistant/config|providers
        GET /ajax-api/3.0/mlflow/assistant/providers/{provider}/health|models
        """,
    ),
)
