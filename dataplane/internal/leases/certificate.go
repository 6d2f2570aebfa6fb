package leases

import (
	"context"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// renewCertificate asks for the next certificate at half of this one's life, at once if that is past, and saves it; the next
// session uses it.
func (l *Link) renewCertificate(ctx context.Context, client leasev1.LeaseServiceClient) error {
	var atLeast time.Duration
	for {
		wait := max(l.id.Load().renewAt().Sub(l.book.wall()), atLeast)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, time.Hour)): // not all at once: the machine may be suspended
		}
		if l.book.wall().Before(l.id.Load().renewAt()) {
			continue
		}
		atLeast = time.Minute
		next, err := l.nextIdentity(ctx, client)
		if err != nil {
			l.log.Warn("certificate not renewed, trying again", "error", l.explain(err), "ends", l.id.Load().leaf.NotAfter)
			continue
		}
		l.id.Store(next)
		l.log.Info("certificate renewed", "ends", next.leaf.NotAfter)
	}
}

func (l *Link) nextIdentity(ctx context.Context, client leasev1.LeaseServiceClient) (*identity, error) {
	request, err := newRequest(l.id.Load().key)
	if err != nil {
		return nil, err
	}
	resp, err := client.RenewCertificate(ctx, &leasev1.RenewCertificateRequest{CertificateRequest: request})
	if err != nil {
		return nil, err
	}
	next, err := newIdentity(resp, l.id.Load().key)
	if err != nil {
		return nil, err
	}
	return next, next.save(l.cfg.DataDir)
}
