package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ollama/ollama/api"
)

func leaves(ctx context.Context, one, _ library) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	failed := make(chan error, 1)
	go func() {
		_, _, err := chat(ctx, one, say("silent", "hello", false))
		failed <- err
	}()
	outer := context.WithoutCancel(ctx)
	_, err := last(outer, "silent", func(e entry) bool { return e.Outcome == "" })
	leave()
	if got := <-failed; !errors.Is(got, context.Canceled) {
		return fmt.Errorf("the library says %w", got)
	}
	return errors.Join(err, settled(outer, "silent", "canceled"))
}

var errEnough = errors.New("enough")

func leavesStream(ctx context.Context, _, other library) error {
	err := other.Chat(ctx, say("slow", "hello", true), func(line api.ChatResponse) error {
		if line.Message.Content == "" {
			return nil
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		return fmt.Errorf("the library says %w", err)
	}
	return settled(ctx, "slow", "canceled")
}

func wrongToken(ctx context.Context, one, other library) error {
	for _, at := range []library{one, other} {
		good := at.via.token
		at.via.token = "sk-pool-nonsense"
		_, _, chatErr := chat(ctx, at, say("good", "hello", true))
		_, listErr := at.List(ctx)
		at.via.token = good
		for _, err := range []error{chatErr, listErr} {
			var refused api.AuthorizationError
			if !errors.As(err, &refused) || refused.StatusCode != 401 {
				return fmt.Errorf("the library says %w", err)
			}
		}
	}
	return nil
}

func refusals(ctx context.Context, one, other library) error {
	for _, tt := range []struct {
		scene  string
		status int
		words  string
	}{
		{"gone", 404, "model"}, {"no/such", 404, "model"}, {"refused", 400, "Bad Request"}, {"limited", 429, "limited"}, {"dead", 503, "upstream key"},
	} {
		for _, at := range []library{one, other} {
			req := say(tt.scene, "hello", true)
			if strings.Contains(tt.scene, "/") {
				req.Model = tt.scene
			}
			_, _, err := chat(ctx, at, req)
			var refused api.StatusError
			if !errors.As(err, &refused) || refused.StatusCode != tt.status ||
				!strings.Contains(refused.ErrorMessage, tt.words) || strings.Contains(refused.ErrorMessage, "{") {
				return fmt.Errorf("%s: the library says %w", tt.scene, err)
			}
		}
	}
	return nil
}

func broken(ctx context.Context, one, other library) error {
	for _, scene := range []string{"cut", "early", "breaks"} {
		text, _, err := chat(ctx, other, say(scene, "hello", true))
		if err == nil {
			return fmt.Errorf("%s: %q passed for success", scene, text)
		}
		if scene == "breaks" && !strings.Contains(err.Error(), "rate limit exceeded") {
			return fmt.Errorf("the library says %w", err)
		}
	}
	for _, scene := range []string{"cut", "early"} {
		var refused api.StatusError
		_, _, err := chat(ctx, one, say(scene, "hello", false))
		if !errors.As(err, &refused) || refused.StatusCode != 502 {
			return fmt.Errorf("%s: the library says %w", scene, err)
		}
	}
	return nil
}

func failover(ctx context.Context, one, other library) error {
	return errors.Join(
		hello(ctx, one, "failover", false), tried(ctx, "failover", "refused", "completed"),
		hello(ctx, other, "stumbles", true), tried(ctx, "stumbles", "broken", "completed"),
	)
}
