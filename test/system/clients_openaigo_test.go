package system

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"

	"ollama-api-pool/test/fakellm"
)

// picture is the smallest PNG, as clients send it.
const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// openAIGo is OpenAI's library for Go, in the test's own process.
type openAIGo struct {
	*stage
	c client
}

func (s *stage) openAIGo(t *testing.T, c client) {
	g := openAIGo{s, c}
	t.Run("a chat is answered whole", g.whole)
	t.Run("a chat is streamed", g.streamed)
	t.Run("a tool is called, whole and in a stream", g.tools)
	t.Run("a picture passes as it is", g.picture)
	t.Run("inputs are embedded", g.embeddings)
	t.Run("the models are listed, and one is told", g.models)
	t.Run("a text is completed, whole and as a stream", g.completions)
	t.Run("a response is made, whole and as a stream", g.responses)
	t.Run("who leaves before the answer ends the attempt", g.leaves)
	t.Run("who leaves a stream ends it at the upstream", g.leavesStream)
	t.Run("errors have the status and the code that they should", g.errors)
	t.Run("dead keys are no fault of the client, who does not try again", g.dead)
	t.Run("an answer that is not whole is no success", g.broken)
	t.Run("failures are made good unseen", g.failover)
}

func (g openAIGo) at(node string, more ...option.RequestOption) *openai.Client {
	api := openai.NewClient(append([]option.RequestOption{
		option.WithBaseURL("http://" + g.port(node) + "/v1"), option.WithAPIKey(g.tokens[g.c.name]), option.WithMaxRetries(0),
	}, more...)...)
	return &api
}

func (g openAIGo) say(scene, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: g.c.name + "/" + scene, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
	}
}

func (g openAIGo) chat(ctx context.Context, node, scene string, more ...option.RequestOption) (string, error) {
	got, err := g.at(node, more...).Chat.Completions.New(ctx, g.say(scene, "hello"))
	if err != nil {
		return "", err
	}
	return got.Choices[0].Message.Content, nil
}

func (g openAIGo) stream(ctx context.Context, node, scene string) (string, error) {
	return joined(g.at(node).Chat.Completions.NewStreaming(ctx, g.say(scene, "hello")), deltaOf)
}

func deltaOf(c openai.ChatCompletionChunk) (text string) {
	for _, choice := range c.Choices {
		text += choice.Delta.Content
	}
	return text
}

func joined[T any](events *ssestream.Stream[T], pick func(T) string) (string, error) {
	defer events.Close()
	var text strings.Builder
	for events.Next() {
		text.WriteString(pick(events.Current()))
	}
	return text.String(), events.Err()
}

// wantText fails unless there is no error and this text.
func wantText(t *testing.T, got string, err error, want string) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// sent remembers the body of the latest request.
func sent(body *[]byte) option.RequestOption {
	return option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		read, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		*body, r.Body = read, io.NopCloser(bytes.NewReader(read))
		return next(r)
	})
}

func (g openAIGo) wantReached(t *testing.T, scene string, body []byte) {
	t.Helper()
	entries := g.entries(g.c.name + "/" + scene)
	if last := entries[len(entries)-1]; !bytes.Equal(last.Body, body) {
		t.Errorf("sent %s, the upstream got %s", body, last.Body)
	}
}

func (g openAIGo) whole(t *testing.T) {
	var body []byte
	var answer *http.Response
	text, err := g.chat(t.Context(), "eu-1", "good", sent(&body), option.WithResponseInto(&answer))
	wantText(t, text, err, fakellm.Answer("hello"))
	g.wantReached(t, "good", body)
	if answer == nil || answer.Header.Get("X-Request-Id") == "" {
		t.Error("there is no request id")
	}
}

func (g openAIGo) streamed(t *testing.T) {
	text, err := g.stream(t.Context(), "us-1", "good")
	wantText(t, text, err, fakellm.Answer("hello"))
}

func (g openAIGo) tools(t *testing.T) {
	ask := g.say("good", "use the tool")
	ask.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
		Name: "weather",
		Parameters: openai.FunctionParameters{
			"type": "object", "required": []string{"city"}, "properties": map[string]any{"city": map[string]any{"type": "string"}},
		},
	})}
	const want = `weather {"city":"use the tool"}`
	got, err := g.at("us-1").Chat.Completions.New(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	f := got.Choices[0].Message.ToolCalls[0].Function
	wantText(t, f.Name+" "+f.Arguments, nil, want)

	text, err := joined(g.at("eu-1").Chat.Completions.NewStreaming(t.Context(), ask), func(c openai.ChatCompletionChunk) (text string) {
		for _, call := range c.Choices[0].Delta.ToolCalls {
			if call.Function.Name != "" {
				text += call.Function.Name + " "
			}
			text += call.Function.Arguments
		}
		return text
	})
	wantText(t, text, err, want)
}

func (g openAIGo) picture(t *testing.T) {
	var body []byte
	ask := g.say("good", "")
	ask.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.TextContentPart("what is this?"),
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + picture}),
	})}
	got, err := g.at("eu-1", sent(&body)).Chat.Completions.New(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, got.Choices[0].Message.Content, nil, fakellm.Answer("what is this?"))
	if !bytes.Contains(body, []byte(picture)) {
		t.Errorf("the library sent %s", body)
	}
	g.wantReached(t, "good", body)
}

func (g openAIGo) embeddings(t *testing.T) {
	inputs := []string{"a", "b"}
	got, err := g.at("us-1").Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: g.c.name + "/good", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: inputs},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, input := range inputs {
		var want []float64
		for _, f := range fakellm.Embedding(input) {
			want = append(want, float64(f))
		}
		if !slices.Equal(got.Data[i].Embedding, want) {
			t.Errorf("%q is embedded as %v, want %v", input, got.Data[i].Embedding, want)
		}
	}
}

func (g openAIGo) models(t *testing.T) {
	want := g.c.name + "/good"
	found := false
	for page := g.at("eu-1").Models.ListAutoPaging(t.Context()); page.Next(); {
		found = found || page.Current().ID == want
	}
	if !found {
		t.Errorf("%s is not listed", want)
	}
	one, err := g.at("us-1").Models.Get(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, one.ID, nil, want)
}

func (g openAIGo) completions(t *testing.T) {
	ask := openai.CompletionNewParams{
		Model:  openai.CompletionNewParamsModel(g.c.name + "/good"),
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("once")},
	}
	pick := func(c openai.Completion) string { return c.Choices[0].Text }
	got, err := g.at("eu-1").Completions.New(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, pick(*got), nil, fakellm.Answer("once"))
	text, err := joined(g.at("us-1").Completions.NewStreaming(t.Context(), ask), pick)
	wantText(t, text, err, fakellm.Answer("once"))
}

func (g openAIGo) responses(t *testing.T) {
	ask := responses.ResponseNewParams{
		Model: g.c.name + "/good", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")},
	}
	got, err := g.at("us-1").Responses.New(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, got.OutputText(), nil, fakellm.Answer("hi"))
	last := ""
	text, err := joined(g.at("eu-1").Responses.NewStreaming(t.Context(), ask), func(e responses.ResponseStreamEventUnion) string {
		if last = e.Type; last == "response.output_text.delta" {
			return e.Delta
		}
		return ""
	})
	wantText(t, text, err, fakellm.Answer("hi"))
	wantText(t, last, nil, "response.completed")
}
