package leases

import leasev1 "ollama-api-pool/gen/pool/lease/v1"

// CacheStatus is what the node keeps of one provider's answers.
type CacheStatus struct {
	Provider     string
	Lists        int    // of models
	Bytes        uint64 // their size
	Hits, Misses uint64 // since the process began

	Answers                               int // whole answers to the same question
	AnswerBytes, AnswerHits, AnswerMisses uint64
}

func (l *Link) caches() []*leasev1.CacheStatus {
	if l.cfg.Caches == nil {
		return nil
	}
	var list []*leasev1.CacheStatus
	for _, c := range l.cfg.Caches() {
		list = append(list, &leasev1.CacheStatus{
			ProviderId: c.Provider, ModelLists: uint32(c.Lists), ModelListBytes: c.Bytes,
			ModelListHits: c.Hits, ModelListMisses: c.Misses,
			Answers: uint64(c.Answers), AnswerBytes: c.AnswerBytes, AnswerHits: c.AnswerHits, AnswerMisses: c.AnswerMisses,
		})
	}
	return list
}
