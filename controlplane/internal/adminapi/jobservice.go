package adminapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ollama-api-pool/controlplane/internal/jobs"
	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// applyUpTo is how many keys a check may have for its answers to take effect without being asked to.
const applyUpTo = 1000

// jobService runs imports and checks.
type jobService struct {
	adminv1.UnimplementedJobServiceServer
	*API
}

// ImportKeys adds a list of keys.
func (s jobService) ImportKeys(ctx context.Context, req *adminv1.ImportKeysRequest) (*adminv1.ImportKeysResponse, error) {
	job, err := s.importLines(ctx, importing{
		field: "keys", lines: jobs.ReadList(req.GetKeys()), provider: req.GetProvider(), ttl: req.GetTtl(), dryRun: req.GetDryRun(),
	})
	return &adminv1.ImportKeysResponse{Job: job}, err
}

// ImportText adds the keys of a text.
func (s jobService) ImportText(ctx context.Context, req *adminv1.ImportTextRequest) (*adminv1.ImportTextResponse, error) {
	job, err := s.importLines(ctx, importing{
		field: "content", lines: jobs.ReadText(req.GetContent()), provider: req.GetProvider(), ttl: req.GetTtl(), dryRun: req.GetDryRun(),
	})
	return &adminv1.ImportTextResponse{Job: job}, err
}

// ImportTextWithValidation adds the keys of a text that their upstream accepts.
func (s jobService) ImportTextWithValidation(
	ctx context.Context, req *adminv1.ImportTextWithValidationRequest,
) (*adminv1.ImportTextWithValidationResponse, error) {
	job, err := s.importLines(ctx, importing{
		field: "content", lines: jobs.ReadText(req.GetContent()), provider: req.GetProvider(), ttl: req.GetTtl(), dryRun: req.GetDryRun(),
		validate: true,
	})
	return &adminv1.ImportTextWithValidationResponse{Job: job}, err
}

// importing is what the three ways to import have in common.
type importing struct {
	field            string // that holds the lines
	lines            []jobs.Line
	provider         string
	ttl              float64
	validate, dryRun bool
}

func (s jobService) importLines(ctx context.Context, in importing) (*adminv1.Job, error) {
	id, err := providerOf(ctx, in.provider)
	if err != nil {
		return nil, err
	}
	of, ok := s.pool.Provider(orDefault(id))
	switch {
	case !ok:
		return nil, noProvider("provider")
	case len(in.lines) == 0:
		return nil, invalid(in.field, "holds no key")
	case len(in.lines) > jobs.MaxLines:
		return nil, invalid(in.field, fmt.Sprintf("holds more than %d keys: import it in parts", jobs.MaxLines))
	}
	job, err := s.jobs.Import(ctx, jobs.Import{
		Provider: of, Lines: in.lines, ExpireTime: after(s.now(), in.ttl), Validate: in.validate, DryRun: in.dryRun,
	})
	if err != nil {
		return nil, err
	}
	return wireJob(job), nil
}

// CheckKeys asks upstreams about keys.
func (s jobService) CheckKeys(ctx context.Context, req *adminv1.CheckKeysRequest) (*adminv1.CheckKeysResponse, error) {
	if req.GetAll() && (len(req.GetIds()) > 0 || req.GetStatus() != "") {
		return nil, invalid("all", "does not go together with ids or status")
	}
	keys, err := s.selected(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(keys) > jobs.MaxLines {
		return nil, invalid("", fmt.Sprintf("more than %d keys: narrow it by ids, status or provider", jobs.MaxLines))
	}
	apply := len(keys) <= applyUpTo
	if req.Apply != nil {
		apply = req.GetApply()
	}
	job, err := s.jobs.Check(ctx, jobs.Check{Keys: keys, Apply: apply})
	if err != nil {
		return nil, err
	}
	return &adminv1.CheckKeysResponse{Job: wireJob(job)}, nil
}

// selected answers the keys that a check is about, in the order of their ids.
func (s jobService) selected(ctx context.Context, req *adminv1.CheckKeysRequest) ([]pool.Key, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	f := keyFilter{provider: provider, status: req.GetStatus()}
	var keys []pool.Key
	if len(req.GetIds()) == 0 {
		s.pool.EachKey(0, func(v pool.KeyView) bool {
			if s.matches(f, v) {
				keys = append(keys, v.Key)
			}
			return len(keys) <= jobs.MaxLines
		})
		return keys, nil
	}
	for i, text := range req.GetIds() {
		v, ok := s.keyNamed(text, provider)
		if !ok {
			return nil, noKey(fmt.Sprintf("ids[%d]", i))
		}
		if s.matches(f, v) {
			keys = append(keys, v.Key)
		}
	}
	slices.SortFunc(keys, func(a, b pool.Key) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return slices.CompactFunc(keys, func(a, b pool.Key) bool { return a.ID == b.ID }), nil
}

func wireJob(j *jobs.Job) *adminv1.Job {
	wire := &adminv1.Job{
		Id: j.ID, Kind: j.Kind, State: j.State, Total: int32(len(j.Results)), Done: int32(j.Done()),
		Counts: numbers(j.Counts()), Categories: numbers(j.Categories()),
		StartTime: stamp(j.Start), EndTime: stamp(j.End), DryRun: j.DryRun,
	}
	for _, r := range j.Results {
		w := &adminv1.JobResult{
			Line: int32(r.Line), Display: r.Display, Result: string(r.Outcome), Reason: r.Reason, Message: r.Message(),
			Category: r.Category, Before: string(r.Before), After: string(r.After),
		}
		if r.ID != 0 {
			w.Id = r.ID.String()
		}
		wire.Results = append(wire.Results, w)
	}
	return wire
}

func numbers(counts map[string]int) map[string]int32 {
	wire := make(map[string]int32, len(counts))
	for name, n := range counts {
		wire[name] = int32(n)
	}
	return wire
}
