package rest_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"ollama-api-pool/controlplane/internal/rest"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// canary stands for every secret: no answer and no log line may ever hold it.
const canary = "sk-canary-0123456789-abcdefghijklmnop"

// services answer anything and remember what they were asked.
type services struct {
	adminv1.UnimplementedKeyServiceServer
	adminv1.UnimplementedTokenServiceServer
	adminv1.UnimplementedProviderServiceServer
	adminv1.UnimplementedNodeServiceServer
	adminv1.UnimplementedStatsServiceServer
	adminv1.UnimplementedJobServiceServer
	adminv1.UnimplementedCacheServiceServer

	mu     sync.Mutex
	asked  proto.Message // guarded by mu
	with   metadata.MD   // guarded by mu
	answer func(method string) (any, error)
}

func (s *services) register(r grpc.ServiceRegistrar) {
	adminv1.RegisterKeyServiceServer(r, s)
	adminv1.RegisterTokenServiceServer(r, s)
	adminv1.RegisterProviderServiceServer(r, s)
	adminv1.RegisterNodeServiceServer(r, s)
	adminv1.RegisterStatsServiceServer(r, s)
	adminv1.RegisterJobServiceServer(r, s)
	adminv1.RegisterCacheServiceServer(r, s)
}

// intercept stands in for all the methods.
func (s *services) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = req.(proto.Message)
	s.with, _ = metadata.FromIncomingContext(ctx)
	return s.answer(info.FullMethod)
}

type fixture struct {
	t        *testing.T
	server   *rest.Server
	services *services
	log      *strings.Builder // read it after the requests only
}

func start(t *testing.T, change ...func(*rest.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, services: &services{}, log: &strings.Builder{}}
	f.services.answer = func(string) (any, error) { return &adminv1.ListKeysResponse{}, nil }
	c := rest.Config{
		Register: f.services.register,
		Options:  []grpc.ServerOption{grpc.UnaryInterceptor(f.services.intercept)},
		Version:  "v1.2.3",
		MaxBody:  1 << 20,
		Log:      slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Admit: func(_ context.Context, authorization string, _ netip.Addr) error {
			if authorization != "Bearer good" {
				return status.Error(codes.Unauthenticated, "no")
			}
			return nil
		},
	}
	for _, f := range change {
		f(&c)
	}
	server, err := rest.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	f.server = server
	t.Cleanup(func() {
		server.Close()
		if strings.Contains(f.log.String(), canary) {
			t.Error("the log holds the canary")
		}
	})
	return f
}

// do sends a request as curl --json would, with the right token; change may spoil it.
func (f *fixture) do(method, target, body string, change ...func(*http.Request)) *http.Response {
	f.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(f.t.Context(), method, target, reader)
	r.Host = "localhost:7601"
	r.Header.Set("Authorization", "Bearer good")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	f.server.ServeHTTP(w, r)
	return w.Result()
}

// failure is an error's JSON.
type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type            string `json:"@type"`
		Reason          string `json:"reason"`
		Domain          string `json:"domain"`
		FieldViolations []struct {
			Field string `json:"field"`
		} `json:"fieldViolations"`
	} `json:"details"`
}

func (e failure) reason() string {
	for _, d := range e.Details {
		if d.Reason != "" && d.Domain == "ollama-api-pool" {
			return d.Reason
		}
	}
	return ""
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if strings.Contains(string(b), "canary") {
		t.Errorf("the answer holds the canary: %s", b)
	}
	return string(b)
}

func decodeFailure(t *testing.T, r *http.Response) failure {
	t.Helper()
	var e failure
	body := text(t, r)
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Errorf("not a google.rpc.Status: %s", body)
	}
	return e
}
