// Package system tests both planes together: in one process under testing/synctest, where an hour takes no time (bubble…),
// and as real processes that are killed for real (process…). The judge is never the system itself but the pretend upstream's
// ledger and what the client counted.
package system
