package fakellm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
)

// embeddings is OpenAI's POST /v1/embeddings.
var embeddings = api{asks: asksPermit, read: readEmbeddings, whole: wholeEmbeddings}

// embeddingSize is the number of dimensions, small enough to read.
const embeddingSize = 8

// Embedding is the vector that the pretend model gives to an input, by any API. Its
// numbers are exact in float32 and in decimals.
func Embedding(input string) []float32 {
	digest := sha256.Sum256([]byte(input))
	v := make([]float32, embeddingSize)
	for i := range v {
		v[i] = float32(int8(digest[i])) / 128
	}
	return v
}

func readEmbeddings(body []byte) (prompt, string) {
	var req struct {
		asked
		Input  inputs `json:"input"`
		Format string `json:"encoding_format"`
	}
	problem := decode(body, &req)
	p := req.prompt(false)
	p.inputs, p.tokens = req.Input, req.Input.words()
	p.base64 = req.Format == "base64"
	if problem == "" && !p.base64 && req.Format != "" && req.Format != "float" {
		problem = "encoding_format must be float or base64"
	}
	return p, missing(problem, len(req.Input) > 0, "input is required", req.Model)
}

func wholeEmbeddings(c completion) any {
	type one struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	list := make([]one, len(c.inputs))
	for i, v := range c.vectors() {
		list[i] = one{"embedding", i, v}
		if c.base64 {
			list[i].Embedding = littleEndian(v)
		}
	}
	return map[string]any{
		"object": "list", "data": list, "model": c.model,
		"usage": map[string]int{"prompt_tokens": c.tokens, "total_tokens": c.tokens},
	}
}

func (c completion) vectors() [][]float32 {
	vs := make([][]float32, len(c.inputs))
	for i, input := range c.inputs {
		vs[i] = Embedding(input)
	}
	return vs
}

// littleEndian is how OpenAI puts a vector into base64.
func littleEndian(v []float32) string {
	var raw []byte
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
