package fakellm

// ollamaEmbed is Ollama's POST /api/embed.
var ollamaEmbed = api{
	asks: asksPermit, errors: ollamaShape, read: readEmbeddings,
	whole: func(c completion) any {
		return struct {
			Model      string      `json:"model"`
			Embeddings [][]float32 `json:"embeddings"`
			ollamaMetrics
		}{c.model, c.vectors(), metrics(c.usage)}
	},
}

// ollamaEmbeddings is POST /api/embeddings, which came before it.
var ollamaEmbeddings = api{
	asks: asksPermit, errors: ollamaShape, read: readOllamaEmbeddings,
	whole: func(c completion) any {
		return map[string]any{"embedding": Embedding(c.inputs[0])}
	},
}

func readOllamaEmbeddings(body []byte) (prompt, string) {
	var req struct {
		asked
		Prompt string `json:"prompt"`
	}
	problem := decode(body, &req)
	p := req.prompt(false)
	p.inputs, p.tokens = []string{req.Prompt}, words(req.Prompt)
	return p, missing(problem, true, "", req.Model)
}
