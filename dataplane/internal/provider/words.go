package provider

// What upstreams say. Texts are looked for only where a status leaves the meaning open, and never in a 400: an upstream may
// quote the request there, and no client may have words put into its mouth that bench a key.
var (
	contentWords = []string{"moderation", "flagged", "guardrail", "content_policy", "content policy", "content_filter", "safety"}
	quotaWords   = []string{
		"insufficient_quota", "insufficient credit", "insufficient balance", "balance is insufficient", "insufficient funds",
		"usage limit", "key limit exceeded", "credit balance is too low", "billing_hard_limit", "billing hard limit",
		"exceeded your current quota, please check your plan and billing",
	}
	keyWords = []string{
		"invalid_api_key", "api_key_invalid", "invalid api key", "api key not valid", "api key is invalid", "incorrect api key",
		"revoked", "banned", "suspended", "deactivated", "key_disabled", "key is disabled", "key has been disabled",
		"account_disabled", "account is disabled", "account has been disabled", "key expired", "key has expired",
	}
)
