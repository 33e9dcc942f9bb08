"""What the tracking store and artifact repositories of MLflow 3.14 to 3.18 can do.

Nothing is refused by these lists: the guards of artifacts and of the ground that versions stand
on know the dangerous ones by name. The lists say which names there are to know.
"""

from __future__ import annotations

import re

TELLS = re.compile(
    r"(get|batch_get|list|search|find|query|calculate|sum|filter|resolve|supports)_\w+"
)
"""Read only, whatever they are about."""

DELETES = frozenset({"delete_experiment", "delete_logged_model", "delete_run"})
"""Take the ground from under a version: plugin/ground.py."""

RESTORES = frozenset({"restore_experiment", "restore_run"})
"""Bring it back as it was."""

PLACES = frozenset({"create_experiment", "create_logged_model", "create_run"})
"""Choose where artifacts will be."""

WRITES = frozenset(
    {
        # runs, experiments and logged models: words about them, no location
        *("log_batch", "log_batch_async", "log_inputs", "log_logged_model_params", "log_metric"),
        *("log_metric_async", "log_outputs", "log_param", "log_param_async", "set_tag"),
        *("set_tag_async", "delete_tag", "set_experiment_tag", "delete_experiment_tag"),
        *("set_logged_model_tags", "delete_logged_model_tag", "set_model_versions_tags"),
        *("record_logged_model", "finalize_logged_model", "rename_experiment", "update_run_info"),
        # traces
        *("log_spans", "log_spans_async", "start_trace", "deprecated_start_trace_v2"),
        *("deprecated_end_trace_v2", "set_trace_tag", "delete_trace_tag", "delete_traces"),
        *("archive_traces", "link_traces_to_run", "unlink_traces_from_run"),
        *("link_prompts_to_trace", "link_mcp_server_versions_to_trace"),
        *("create_assessment", "update_assessment", "delete_assessment"),
        # issues, labels, reviews, datasets, scorers
        *("create_issue", "update_issue", "create_label_schema", "update_label_schema"),
        *("delete_label_schema", "create_review_queue", "update_review_queue"),
        *("delete_review_queue", "add_items_to_review_queue", "remove_items_from_review_queue"),
        *("set_review_queue_item_status", "create_dataset", "delete_dataset", "set_dataset_tags"),
        *("delete_dataset_tag", "delete_dataset_records", "upsert_dataset_records"),
        *("add_dataset_to_experiments", "remove_dataset_from_experiments", "register_scorer"),
        *("delete_scorer", "upsert_online_scoring_config"),
        # the gateway
        *("create_gateway_secret", "update_gateway_secret", "delete_gateway_secret"),
        *("create_gateway_endpoint", "update_gateway_endpoint", "delete_gateway_endpoint"),
        *("create_gateway_model_definition", "update_gateway_model_definition"),
        *("delete_gateway_model_definition", "attach_model_to_endpoint"),
        *("detach_model_from_endpoint", "create_endpoint_binding", "delete_endpoint_binding"),
        *("set_gateway_endpoint_tag", "delete_gateway_endpoint_tag", "create_budget_policy"),
        *("update_budget_policy", "delete_budget_policy", "create_gateway_guardrail"),
        *("delete_gateway_guardrail", "add_guardrail_to_endpoint"),
        *("remove_guardrail_from_endpoint", "update_endpoint_guardrail_config"),
        # MCP servers
        *("create_mcp_server", "update_mcp_server", "delete_mcp_server"),
        *("create_mcp_server_version", "update_mcp_server_version", "delete_mcp_server_version"),
        *("create_mcp_access_endpoint", "update_mcp_access_endpoint"),
        *("delete_mcp_access_endpoint", "set_mcp_server_alias", "delete_mcp_server_alias"),
        *("set_mcp_server_tag", "delete_mcp_server_tag", "set_mcp_server_version_tag"),
        "delete_mcp_server_version_tag",
        # skills; the server deletes their files through the guarded destination
        *("create_skill", "update_skill", "delete_skill", "delete_skill_and_collect_artifacts"),
        *("create_skill_version", "update_skill_version", "delete_skill_version"),
        *("bulk_register_skills", "set_skill_alias", "delete_skill_alias", "set_skill_tag"),
        *("delete_skill_tag", "set_skill_version_tag", "delete_skill_version_tag"),
        # of this process alone
        *("end_async_logging", "flush_async_logging", "shut_down_async_logging"),
        *("sanitize_metric_value", "secret_cache"),
    }
)

KNOWN = DELETES | RESTORES | PLACES | WRITES

REPOSITORY = frozenset(
    {
        # read, guarded
        *("get_local_path", "download_artifacts", "get_download_presigned_url"),
        # written, guarded
        *("log_artifact", "log_artifacts", "log_artifact_from_stream"),
        *("log_artifact_from_async_stream", "delete_artifacts", "create_multipart_upload"),
        *("complete_multipart_upload", "abort_multipart_upload", "create_presigned_upload_url"),
        # made of those
        *("download_trace_data", "download_trace_data_to_file", "download_archived_trace_data"),
        *("download_trace_attachment", "download_trace_attachment_to_file", "upload_trace_data"),
        *("upload_archived_trace_data", "upload_archived_trace_data_bytes", "upload_attachment"),
        # neither
        *("artifact_dir", "list_artifacts", "max_workers", "flush_async_logging"),
        *("bucket", "bucket_path", "client", "get_s3_file_upload_extra_args"),
        "parse_s3_compliant_uri",
        "parse_s3_uri",
    }
)


def unknown(store: type) -> list[str]:
    """Public methods of a tracking store that are on no list."""
    return sorted(
        name
        for name in dir(store)
        if not name.startswith("_")
        and callable(getattr(store, name))
        and name not in KNOWN
        and not TELLS.fullmatch(name)
    )
