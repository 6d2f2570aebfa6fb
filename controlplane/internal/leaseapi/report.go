package leaseapi

import (
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// ReportOutcomes takes a node's batches as they come and acknowledges each when it is committed. A batch that does not come
// to its acknowledgement is sent again by the node, and has no second effect.
func (a *API) ReportOutcomes(stream leasev1.LeaseService_ReportOutcomesServer) error {
	ctx := stream.Context()
	receipts, ended := make(chan stats.Receipt, outcomeWindow), make(chan error, 1)
	go func() { ended <- a.takeReports(stream, receipts) }() // ends with the stream, at the latest when this returns
	for {
		select {
		case err := <-ended:
			return err
		case r := <-receipts:
			ack, err := r.Wait(ctx)
			if err != nil {
				return status.Error(codes.Unavailable, "the counts cannot be saved now")
			}
			err = stream.Send(&leasev1.ReportOutcomesResponse{
				NodeEpoch: ack.Epoch, CommittedSeq: ack.Committed, ResendFrom: ack.ResendFrom,
			})
			if err != nil {
				return err
			}
		}
	}
}

// takeReports submits what the node sends until it sends no more.
func (a *API) takeReports(stream leasev1.LeaseService_ReportOutcomesServer, receipts chan<- stats.Receipt) error {
	node := pool.NodeID(caller(stream.Context()).Node)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.cfg.Pool.PutOut(node) {
			return errEvicted
		}
		batch, err := a.batch(node, req)
		if err != nil {
			return err
		}
		select {
		case receipts <- a.cfg.Stats.Submit(batch):
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// batch reads the wire. The node is who its certificate says.
func (a *API) batch(node pool.NodeID, req *leasev1.ReportOutcomesRequest) (stats.Batch, error) {
	wire := req.GetBatch()
	models := wire.GetModels()
	b := stats.Batch{
		Node: node, Epoch: req.GetNodeEpoch(), Seq: req.GetSeq(), SealedAt: a.cfg.Now().Add(-req.GetAge().AsDuration()),
	}
	if b.Epoch == 0 || b.Seq == 0 {
		return b, status.Error(codes.InvalidArgument, "a batch has an epoch and a number, from 1 on")
	}
	for _, k := range wire.GetKeys() {
		if int(k.GetModel()) >= len(models) {
			return b, errDictionary
		}
		m := models[k.GetModel()]
		b.Keys = append(b.Keys, stats.KeyDelta{
			Key: pool.KeyID(k.GetKeyId()), Provider: pool.ProviderID(m.GetProviderId()), Model: m.GetName(), Counts: attempts(k),
		})
	}
	for _, t := range wire.GetTokens() {
		if int(t.GetModel()) >= len(models) {
			return b, errDictionary
		}
		m := models[t.GetModel()]
		b.Tokens = append(b.Tokens, stats.TokenDelta{
			Token: pool.TokenID(t.GetTokenId()), Provider: pool.ProviderID(m.GetProviderId()), Model: m.GetName(), Counts: requests(t),
		})
	}
	return b, nil
}

var errDictionary = status.Error(codes.InvalidArgument, "a counter points outside of the batch's models")

func attempts(k *leasev1.KeyCounters) stats.AttemptCounts {
	return stats.AttemptCounts{
		stats.AttemptOK: k.GetOk(), stats.AttemptClientError: k.GetClientError(), stats.AttemptRateLimited: k.GetRateLimited(),
		stats.AttemptQuota: k.GetQuota(), stats.AttemptAuthError: k.GetAuthError(), stats.AttemptServerError: k.GetServerError(),
		stats.AttemptTimeout: k.GetTimeout(), stats.AttemptLocalError: k.GetLocalError(), stats.AttemptCanceled: k.GetCanceled(),
		stats.AttemptTruncated: k.GetTruncated(), stats.AttemptBroken: k.GetBroken(), stats.AttemptForbidden: k.GetForbidden(),
		stats.AttemptFirstByteMsSum: k.GetFirstByteMsSum(), stats.AttemptInputTokens: k.GetInputTokens(),
		stats.AttemptOutputTokens: k.GetOutputTokens(), stats.AttemptEstimatedTokens: k.GetEstimatedTokens(), stats.AttemptUnknown: k.GetUnknown(),
	}
}

func requests(t *leasev1.TokenCounters) stats.RequestCounts {
	return stats.RequestCounts{
		stats.RequestOK: t.GetOk(), stats.RequestClientError: t.GetClientError(), stats.RequestLimited: t.GetLimited(),
		stats.RequestUnavailable: t.GetUnavailable(), stats.RequestUpstreamError: t.GetUpstreamError(),
		stats.RequestTruncated: t.GetTruncated(), stats.RequestCanceled: t.GetCanceled(),
		stats.RequestInputTokens: t.GetInputTokens(), stats.RequestOutputTokens: t.GetOutputTokens(),
		stats.RequestEstimatedTokens: t.GetEstimatedTokens(), stats.RequestFromCache: t.GetFromCache(),
		stats.RequestUnknown: t.GetUnknown(),
	}
}

// Observations answers what a batch tells for and against providers: which keys served as they should, which failed softly.
func Observations(b stats.Batch) []pool.Observation {
	list := make([]pool.Observation, 0, len(b.Keys))
	for _, k := range b.Keys {
		c := k.Counts
		list = append(list, pool.Observation{
			Key:  k.Key,
			Good: c[stats.AttemptOK] + c[stats.AttemptClientError] + c[stats.AttemptForbidden],
			Bad:  c[stats.AttemptServerError] + c[stats.AttemptTimeout] + c[stats.AttemptBroken],

			Served: c[stats.AttemptOK], Node: b.Node, SealedAt: b.SealedAt,
		})
	}
	return list
}
