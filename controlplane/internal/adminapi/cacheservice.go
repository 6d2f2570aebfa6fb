package adminapi

import adminv1 "ollama-api-pool/gen/pool/admin/v1"

// cacheService shows and clears the caches of the data planes.
type cacheService struct {
	adminv1.UnimplementedCacheServiceServer
	*API
}
