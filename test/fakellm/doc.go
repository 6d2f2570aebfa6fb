// Package fakellm is a pretend provider of language models, and the judge of
// every test that sends it traffic.
//
// It is an http.Handler. Give it keys, say how each key behaves, send it
// requests, then read its ledger: what was asked, with which key, when, and how
// it ended. The ledger is written by this package alone. A system under test is
// never its own witness, so tests compare its counters with this ledger and not
// the other way round.
//
//	up := fakellm.New(fakellm.Config{})
//	err := up.SetKeys(map[string]fakellm.Behaviour{
//		"key-good": {},
//		"key-busy": {Status: 429, RetryAfter: "30", CoolUntilRetryAfter: true},
//		"key-dead": {Status: 401},
//	})
//	srv := httptest.NewServer(up)
//	// ... send traffic, each request with its own "user" in the body ...
//	for _, v := range fakellm.DoubleTries(up.Ledger()) {
//		t.Error(v)
//	}
//
// What it answers. POST /v1/chat/completions echoes the last user message (see
// [Answer]), as JSON or as server-sent events. GET /v1/models lists the models
// to anybody: as with the real providers, a model list proves nothing about a
// key. A chat completion with an empty body answers 400 to a good key and 401
// to an unknown one: a check that costs no token. The "ollama" dialect has
// GET /api/tags; the "openrouter" dialect has everything under /api/v1 too, and
// GET /api/v1/key, which wants a good key. Anything else is 404 or 405.
//
// Order of judgement. The key is judged when the request's headers arrive, its
// limits first and its behaviour next; the body is judged last. So a key that is
// scripted to answer 500 answers 500 to a check without a body too.
//
// Time. The package starts no goroutine and waits only on timers and on the
// request's context, so it works in a testing/synctest bubble: serve it there
// over net.Pipe, or call ServeHTTP with a recorder. A connection that is cut on
// purpose is cut by panic(http.ErrAbortHandler), which an http.Server handles
// and a recorder does not.
//
// An entry is closed just before the last piece of its answer is handed to the
// network. Whoever has read an answer to its end finds it finished in the ledger
// and its place under a concurrency limit free again.
//
// A restart forgets everything but the lines already written to Config.Ledger.
// Keys are stored and listed in clear: never give it a real one.
package fakellm
