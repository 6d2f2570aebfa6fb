package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ollama-api-pool/test/fakellm"
)

// client is a program with a token, as any program in front of the pool.
type client struct {
	token string
	http  *http.Client
}

// question is one chat completion.
type question struct {
	id, model, text string
	stream          bool
}

// outcome is what the client got: no error means the whole answer that it asked for.
type outcome struct {
	status   int
	attempts int // as x-pool-attempts says
	err      error
}

func (c *client) ask(ctx context.Context, to plane, q question) outcome {
	body, err := json.Marshal(object{
		"model": q.model, "stream": q.stream, "user": q.id,
		"messages": []object{{"role": "user", "content": q.text}},
	})
	if err != nil {
		return outcome{err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.api+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return outcome{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	got := outcome{status: resp.StatusCode}
	got.attempts, _ = strconv.Atoi(resp.Header.Get("X-Pool-Attempts")) // absent: none were made
	if resp.StatusCode != http.StatusOK {
		got.err = errors.New(resp.Status)
		return got
	}
	read := whole
	if q.stream {
		read = streamed
	}
	text, err := read(resp.Body)
	if err == nil && text != fakellm.Answer(q.text) {
		err = fmt.Errorf("another answer than expected, of %d characters", len(text))
	}
	got.err = err
	return got
}

// whole reads an answer that is no stream.
func whole(body io.Reader) (string, error) {
	var got struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.NewDecoder(body).Decode(&got); err != nil {
		return "", err
	}
	if len(got.Choices) == 0 {
		return "", errors.New("an answer without choices")
	}
	return got.Choices[0].Message.Content, nil
}

var errCut = errors.New("a stream that ended early")

// streamed reads a stream to its [DONE]. Without it, it is no answer.
func streamed(body io.Reader) (string, error) {
	var text strings.Builder
	for lines := bufio.NewScanner(body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			return text.String(), nil
		}
		var event struct {
			Error   json.RawMessage
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return "", err
		}
		if event.Error != nil {
			return "", errCut
		}
		for _, c := range event.Choices {
			text.WriteString(c.Delta.Content)
		}
	}
	return "", errCut
}
