package seal

import (
	"strconv"
	"strings"
)

// AssociatedData answers what a sealed value is bound to, so that it opens in its own record only: the cluster, the kind
// of record, its id, and the provider to whose origin the secret may go (empty where there is none).
func AssociatedData(clusterID, kind, id, provider string) string {
	var b strings.Builder
	b.WriteString("seal format 1")
	for _, field := range [...]string{clusterID, kind, id, provider} {
		b.WriteByte('|')
		b.WriteString(strconv.Itoa(len(field))) // lengths, because a field may hold the separator
		b.WriteByte(':')
		b.WriteString(field)
	}
	return b.String()
}
