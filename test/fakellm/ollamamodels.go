package fakellm

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"time"
)

// tags is Ollama's own list, public like the other.
func (x *exchange) tags() {
	x.ollamaList(func(m map[string]any) {
		m["modified_at"] = modelsCreated.Format(time.RFC3339)
	})
}

// running is Ollama's list of the models in memory: all are, and stay.
func (x *exchange) running() {
	x.ollamaList(func(m map[string]any) {
		m["size_vram"] = m["size"]
		m["expires_at"] = modelsCreated.AddDate(100, 0, 0).Format(time.RFC3339)
	})
}

func (x *exchange) ollamaList(complete func(map[string]any)) {
	list := []map[string]any{}
	for _, name := range x.u.cfg.Models {
		digest := sha256.Sum256([]byte(name))
		m := map[string]any{
			"name": name, "model": name, "size": 1 << 30,
			"digest": hex.EncodeToString(digest[:]), "details": ollamaDetails,
		}
		complete(m)
		list = append(list, m)
	}
	x.reply(http.StatusOK, typeJSON, Completed, mustJSON(map[string]any{"models": list}))
}

var ollamaDetails = map[string]any{
	"format": "gguf", "family": "pretend", "families": []string{"pretend"},
	"parameter_size": "1B", "quantization_level": "Q4_0",
}

func (x *exchange) version() {
	x.reply(http.StatusOK, typeJSON, Completed, mustJSON(map[string]string{"version": "0.14.0"}))
}

// show tells about one model.
func (x *exchange) show() {
	var req struct {
		asked
		Name string `json:"name"` // its older member
	}
	problem := decode(x.body, &req)
	name := cmp.Or(req.Model, req.Name)
	x.note(func(e *Entry) { e.RequestID, e.Model = req.User, name })
	if problem = missing(problem, true, "", name); problem != "" {
		x.refuse(fault{status: http.StatusBadRequest, message: problem})
		return
	}
	if !slices.Contains(x.u.cfg.Models, name) {
		x.refuse(notFound(name))
		return
	}
	x.reply(http.StatusOK, typeJSON, Completed, mustJSON(map[string]any{
		"modelfile": "FROM " + name, "template": "{{ .Prompt }}", "details": ollamaDetails,
		"model_info":   map[string]any{"general.architecture": "pretend", "pretend.context_length": 131072},
		"capabilities": []string{"completion", "tools", "vision", "embedding"},
		"modified_at":  modelsCreated.Format(time.RFC3339),
	}))
}
