package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/ollama/ollama/api"
)

var cases = []struct {
	name  string
	holds func(ctx context.Context, one, other library) error
}{
	{"a chat is answered whole", whole},
	{"a chat is streamed", streamed},
	{"a text is generated, whole and as a stream", generated},
	{"a tool is called, whole and in a stream", tools},
	{"a picture passes as it is", picture},
	{"inputs are embedded, the new way and the old", embedded},
	{"the models are listed, and one is told", models},
	{"who leaves before the answer ends the attempt", leaves},
	{"who leaves a stream ends it at the upstream", leavesStream},
	{"a wrong token is an AuthorizationError", wrongToken},
	{"refusals are a StatusError in the right words", refusals},
	{"an answer that is not whole is no success", broken},
	{"failures are made good unseen", failover},
}

func say(scene, text string, stream bool) *api.ChatRequest {
	return &api.ChatRequest{Model: model(scene), Stream: &stream, Messages: []api.Message{{Role: "user", Content: text}}}
}

// chat answers the text of all lines, and the last line.
func chat(ctx context.Context, at library, req *api.ChatRequest) (text string, last api.ChatResponse, err error) {
	err = at.Chat(ctx, req, func(line api.ChatResponse) error {
		text += line.Message.Content
		last = line
		return nil
	})
	return text, last, err
}

// hello says it, and wants it echoed.
func hello(ctx context.Context, at library, scene string, stream bool) error {
	text, last, err := chat(ctx, at, say(scene, "hello", stream))
	if err != nil {
		return err
	}
	if text != "echo: hello" || !last.Done || last.EvalCount != 2 {
		return fmt.Errorf("got %q, done %v, of %d tokens", text, last.Done, last.EvalCount)
	}
	return nil
}

func whole(ctx context.Context, one, _ library) error {
	if err := hello(ctx, one, "good", false); err != nil {
		return err
	}
	return reached(ctx, one)
}

// reached fails unless the upstream got what the library sent.
func reached(ctx context.Context, at library) error {
	e, err := last(ctx, "good", func(entry) bool { return true })
	if err == nil && !bytes.Equal(e.Body, at.via.body) {
		err = fmt.Errorf("sent %s, the upstream got %s", at.via.body, e.Body)
	}
	return err
}

func streamed(ctx context.Context, _, other library) error { return hello(ctx, other, "good", true) }

func generated(ctx context.Context, one, other library) error {
	for _, at := range []struct {
		library
		stream bool
	}{{one, true}, {other, false}} {
		var text string
		req := &api.GenerateRequest{Model: model("good"), Prompt: "once", Stream: &at.stream}
		err := at.Generate(ctx, req, func(line api.GenerateResponse) error {
			text += line.Response
			return nil
		})
		if err != nil {
			return err
		}
		if text != "echo: once" {
			return fmt.Errorf("got %q", text)
		}
	}
	return nil
}

func tools(ctx context.Context, one, other library) error {
	properties := api.NewToolPropertiesMap()
	properties.Set("city", api.ToolProperty{Type: api.PropertyType{"string"}})
	for _, at := range []struct {
		library
		stream bool
	}{{one, false}, {other, true}} {
		req := say("good", "use the tool", at.stream)
		req.Tools = api.Tools{{Type: "function", Function: api.ToolFunction{
			Name: "weather", Parameters: api.ToolFunctionParameters{Type: "object", Required: []string{"city"}, Properties: properties},
		}}}
		var calls []string
		err := at.Chat(ctx, req, func(line api.ChatResponse) error {
			for _, call := range line.Message.ToolCalls {
				calls = append(calls, call.Function.Name+" "+call.Function.Arguments.String())
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !slices.Equal(calls, []string{`weather {"city":"use the tool"}`}) {
			return fmt.Errorf("called %q", calls)
		}
	}
	return nil
}

// png is the smallest picture.
const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func picture(ctx context.Context, one, _ library) error {
	data, err := base64.StdEncoding.DecodeString(png)
	if err != nil {
		return err
	}
	req := say("good", "what is this?", false)
	req.Messages[0].Images = []api.ImageData{data}
	text, _, err := chat(ctx, one, req)
	if err != nil {
		return err
	}
	if text != "echo: what is this?" || !bytes.Contains(one.via.body, []byte(png)) {
		return fmt.Errorf("got %q for %s", text, one.via.body)
	}
	return reached(ctx, one)
}

func embedded(ctx context.Context, one, other library) error {
	many, err := one.Embed(ctx, &api.EmbedRequest{Model: model("good"), Input: []string{"a", "b"}})
	if err != nil {
		return err
	}
	single, err := other.Embeddings(ctx, &api.EmbeddingRequest{Model: model("good"), Prompt: "b"})
	if err != nil {
		return err
	}
	if len(many.Embeddings) != 2 || len(single.Embedding) == 0 || fmt.Sprint(many.Embeddings[1]) != fmt.Sprint(single.Embedding) {
		return fmt.Errorf("embedded as %v and %v", many.Embeddings, single.Embedding)
	}
	return nil
}

func models(ctx context.Context, one, other library) error {
	list, err := one.List(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list.Models, func(m api.ListModelResponse) bool { return m.Name == model("good") }) {
		return errors.New("it is not listed")
	}
	shown, err := other.Show(ctx, &api.ShowRequest{Model: model("good")})
	if err != nil {
		return err
	}
	if len(shown.Capabilities) == 0 {
		return errors.New("it can do nothing")
	}
	if err := other.Heartbeat(ctx); err != nil {
		return err
	}
	_, err = one.Version(ctx)
	return err
}
