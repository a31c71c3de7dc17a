"""Messages to people, by the channels that have a connection: email, Slack, PagerDuty."""

from __future__ import annotations

import html
from typing import Any

from airflow.sdk import BaseHook, Context, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

LOG, EMAIL, SLACK, PAGERDUTY = "log", "email", "slack", "pagerduty"
CHANNELS = (LOG, EMAIL, SLACK, PAGERDUTY)
CONNECTIONS = {EMAIL: "sdp_email", SLACK: "sdp_slack", PAGERDUTY: "sdp_pagerduty"}
RUNBOOK = "docs/runbook.md"
SECTIONS = {
    "open findings": "reconciliation-ok",
    "warning": "reconciliation-warning",
    "investigate": "reconciliation-investigate",
    "escalate": "reconciliation-escalate",
    "failed": "a-dag-failed",
}
PAGED = {
    "open findings": "info",
    "warning": "warning",
    "investigate": "warning",
    "escalate": "critical",
    "failed": "error",
}
"""What happened → severity in PagerDuty."""


def alert(channel: str, what: str, text: str, context: Context, log: Any) -> None:
    """Send one message by one channel. Raises AirflowSkipException if the channel has no connection.

    ``what``: one of ``SECTIONS``, which are those of the runbook.
    """
    dag_id = context["dag"].dag_id
    runbook = Variable.get("sdp_runbook", default=RUNBOOK)
    log_url = context["ti"].log_url
    message = f"{text}\nrunbook: {runbook}#{SECTIONS[what]}\nlog: {log_url}"
    if channel == LOG:
        log.warning("%s: %s", what, message)
        return
    connection = _connection(channel)
    if connection is None:
        raise AirflowSkipException(f"no connection {CONNECTIONS[channel]}: docs/airflow.md says how to make it")
    # notify() and not the call: that would take braces in the message for a template
    _notifier(channel, what, dag_id, message, connection).notify(context)


def alert_of_failure(context: Context) -> None:
    """For ``on_failure_callback``: the last try has failed. A channel that does not work stops no other one."""
    task = context["ti"].task_id
    log = context["task"].log
    for channel in CHANNELS:
        try:
            alert(channel, "failed", f"{context['dag'].dag_id}, {task}: {context.get('exception')}", context, log)
        except AirflowSkipException:
            log.debug("%s is not configured", channel)
        except Exception:
            log.exception("the message could not be sent by %s", channel)


def _connection(channel: str) -> Any | None:
    try:
        return BaseHook.get_connection(CONNECTIONS[channel])
    except AirflowNotFoundException:
        return None


def _notifier(channel: str, what: str, dag_id: str, message: str, connection: Any) -> Any:
    # providers take long to import: only where a message goes out
    if channel == EMAIL:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        shown = f"<pre>{html.escape(message)}</pre>"
        to = connection.extra_dejson["to"]
        return SmtpNotifier(smtp_conn_id=CONNECTIONS[EMAIL], to=to, subject=f"{dag_id}: {what}", html_content=shown)
    if channel == SLACK:
        from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

        return SlackWebhookNotifier(slack_webhook_conn_id=CONNECTIONS[SLACK], text=message)
    from airflow.providers.pagerduty.notifications.pagerduty import PagerdutyNotifier

    return PagerdutyNotifier(
        pagerduty_events_conn_id=CONNECTIONS[PAGERDUTY],
        summary=f"{dag_id}: {message.splitlines()[0]}"[:1024],
        severity=PAGED[what],
        source=dag_id,
        dedup_key=f"{dag_id}-{what}",
        custom_details=message,
    )
