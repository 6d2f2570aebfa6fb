package fakellm

import (
	"net/http"
	"slices"
	"time"
)

// modelsCreated dates all models, so that lists never change.
var modelsCreated = time.Date(2025, time.August, 5, 0, 0, 0, 0, time.UTC)

func (x *exchange) greet() {
	x.reply(http.StatusOK, typePlain, Completed, []byte("Ollama is running"))
}

// models lists the models to any key and to none, as the real ones do.
func (x *exchange) models() {
	list := []map[string]any{}
	for _, m := range x.u.cfg.Models {
		list = append(list, x.u.modelEntry(m))
	}
	body := map[string]any{"data": list}
	if x.u.cfg.Dialect != OpenRouter {
		body["object"] = "list"
	}
	x.reply(http.StatusOK, typeJSON, Completed, mustJSON(body))
}

func (u *Upstream) modelEntry(name string) map[string]any {
	if u.cfg.Dialect != OpenRouter {
		return map[string]any{"id": name, "object": "model", "created": modelsCreated.Unix(), "owned_by": "library"}
	}
	return map[string]any{
		"id":             name,
		"canonical_slug": name,
		"name":           name,
		"created":        modelsCreated.Unix(),
		"description":    "A pretend model that echoes.",
		"context_length": 131072,
		"architecture": map[string]any{
			"modality":          "text->text",
			"input_modalities":  []string{"text"},
			"output_modalities": []string{"text"},
		},
		"pricing": map[string]string{"prompt": "0", "completion": "0"},
	}
}

// model is one entry of that list, as open as the list itself.
func (x *exchange) model() {
	_, name := cutModel(x.r.URL.Path)
	if !slices.Contains(x.u.cfg.Models, name) {
		x.refuse(notFound(name))
		return
	}
	x.reply(http.StatusOK, typeJSON, Completed, mustJSON(x.u.modelEntry(name)))
}

// keyInfo is OpenRouter's free question about a key.
func (x *exchange) keyInfo() {
	if !x.passKey() {
		return
	}
	x.answer(mustJSON(map[string]any{"data": map[string]any{
		"label":           tail(x.key),
		"usage":           0,
		"limit":           nil,
		"limit_remaining": nil,
		"is_free_tier":    false,
	}}))
}
