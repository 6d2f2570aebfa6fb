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
// What it answers. Whatever API a request to a model comes by, the answer echoes
// the last user message (see [Answer]), whole or as a stream, in that API's own
// framing, and behaviours, limits and judges are the same:
//
//	OpenAI     POST /v1/chat/completions, /v1/completions, /v1/responses
//	Anthropic  POST /v1/messages
//	Ollama     POST /api/chat, /api/generate ("ollama" dialect only)
//
// POST /v1/embeddings and Ollama's /api/embed and /api/embeddings answer vectors
// (see [Embedding]). A chat, by any API that has tools, calls one if it is given one and
// the last message is the user's and says "tool" (see [ToolArguments]). Of a message made
// of parts, the text ones are echoed. POST /v1/messages/count_tokens wants a good key
// and is free. An empty body answers 400 to a good key and 401 to an unknown one, on
// all these paths: a check that costs no token.
//
// GET /v1/models and /v1/models/{model} answer anybody: as with the real providers,
// a model list proves nothing about a key. So do the "ollama" dialect's
// GET /api/tags, /api/ps and /api/version, and POST /api/show. The "openrouter"
// dialect has everything under /api/v1 too, and GET /api/v1/key, which wants a good
// key. Anything else is 404 or 405.
//
// Errors have the dialect's shape on OpenAI's paths, and on those of Anthropic and
// Ollama the shape of these, whatever the dialect. In a stream an error is an event
// of its own ("event: error" with Anthropic, and with responses until one has begun,
// then response.failed), or a line.
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
