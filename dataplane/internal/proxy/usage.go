package proxy

import (
	"bytes"

	"ollama-api-pool/dataplane/internal/provider"
)

// tally reads what an answer takes as it goes by, and has an estimate where the upstream does not say.
type tally struct {
	said  provider.UsageReader
	parts int // events with something in them: in a stream, about one for each token
	bytes int // of an answer that is no stream
}

// usage is what the answer has taken so far of a request that goes through the route.
func (t *tally) usage(rt *route, requestBytes int) provider.Usage {
	said, told := t.said.Usage()
	switch {
	case told:
		return said
	case rt.tokens == noTokens || t.parts+t.bytes == 0:
		return provider.Usage{}
	}
	u := provider.Usage{Input: estimateInput(int64(requestBytes)), Estimated: true}
	if rt.tokens == inAndOut {
		u.Output = uint64(t.parts) + estimateTokens(int64(t.bytes))
	}
	return u
}

// tokenUse says what the requests of a route take.
type tokenUse uint8

const (
	noTokens tokenUse = iota
	inOnly
	inAndOut
)

// isUsageOnly says whether an event has nothing in it but the usage that the pool asked for.
func isUsageOnly(data []byte) bool {
	var usage, choices []byte
	err := provider.Members(data, provider.MaxAnswerDepth, func(key, value []byte) {
		switch string(key) {
		case "usage":
			usage = value
		case "choices":
			choices = value
		}
	})
	return err == nil && len(usage) > 0 && usage[0] == '{' && len(choices) > 1 && len(bytes.TrimSpace(choices[1:len(choices)-1])) == 0
}
