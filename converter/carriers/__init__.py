"""Who carries a message out of the system: signed webhooks, a Slack-compatible hook, e-mail."""
