package server

import (
	"strings"
	"testing"
)

func TestAWrongNetworkOfProxiesShowsBeforeAnythingRuns(t *testing.T) {
	_, err := New(Config{NodeID: "n", TrustedProxies: []string{"10.0.0.0/8", "proxy.example"}})
	if err == nil || !strings.Contains(err.Error(), "--trusted-proxies") || !strings.Contains(err.Error(), `"proxy.example"`) {
		t.Errorf("got %v", err)
	}
}
