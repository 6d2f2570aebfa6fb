package adminapi

import adminv1 "ollama-api-pool/gen/pool/admin/v1"

// jobService runs imports and checks.
type jobService struct {
	adminv1.UnimplementedJobServiceServer
	*API
}
