package provider

import "regexp"

// What upstreams say. Texts are looked for only where a status leaves the meaning open, and never in a 400: an upstream may
// quote the request there.
var (
	contentWords = []string{"moderation", "flagged", "guardrail", "content_policy", "content policy", "content_filter", "safety"}
	quotaWords   = []string{
		"insufficient_quota", "insufficient credit", "insufficient balance", "balance is insufficient", "insufficient funds",
		"usage limit", "key limit exceeded", "credit balance is too low", "billing_hard_limit", "billing hard limit",
		"exceeded your current quota", "exceeded_current_quota", "billing_not_active", "billing details", "spending limit",
		"used all available credits", "any credits yet", "out of credits", "no credits",
	}
	keyWords = []string{
		"invalid_api_key", "api_key_invalid", "invalid api key", "api key not valid", "api key is invalid", "incorrect api key",
		"invalid token", "invalid access token", "invalid credential", "reported as leaked", "key_disabled", "account_disabled", "account_deactivated",
		"key_expired", "key_revoked", "token_revoked", "token_expired", "access_terminated",
	}
	// A key, or whom it belongs to, that has been put out. The words stand close together, so that it is this they say.
	putOut = regexp.MustCompile(`\b(?:key|account|organi[sz]ation|token|credentials?|project)(?: [\w-]+){0,3} ` +
		`(?:revoked|banned|suspended|deactivated|disabled|terminated|deleted|expired)\b|` +
		`\b(?:revoked|banned|suspended|deactivated|disabled|expired) (?:api )?(?:key|account|token)\b|` +
		`\bkey (?:is |has been )?(?:currently )?(?:blocked|revoked|expired)\b`)
)
