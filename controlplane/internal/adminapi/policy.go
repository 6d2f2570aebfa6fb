package adminapi

import (
	"ollama-api-pool/controlplane/internal/caller"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// policy is who may call what. A method that is missing here can be called by nobody; a test finds it.
var policy = caller.Policy{
	adminv1.KeyService_ListKeys_FullMethodName:    caller.RoleViewer,
	adminv1.KeyService_GetKey_FullMethodName:      caller.RoleViewer,
	adminv1.KeyService_CreateKey_FullMethodName:   caller.RoleOperator,
	adminv1.KeyService_UpdateKey_FullMethodName:   caller.RoleOperator,
	adminv1.KeyService_DeleteKey_FullMethodName:   caller.RoleOperator,
	adminv1.KeyService_DeleteKeys_FullMethodName:  caller.RoleOperator,
	adminv1.KeyService_EnableKeys_FullMethodName:  caller.RoleOperator,
	adminv1.KeyService_DisableKeys_FullMethodName: caller.RoleOperator,
	adminv1.KeyService_RestoreKey_FullMethodName:  caller.RoleOperator,
	adminv1.KeyService_VerifyKey_FullMethodName:   caller.RoleOperator,

	adminv1.JobService_ImportKeys_FullMethodName:               caller.RoleOperator,
	adminv1.JobService_ImportText_FullMethodName:               caller.RoleOperator,
	adminv1.JobService_ImportTextWithValidation_FullMethodName: caller.RoleOperator,
	adminv1.JobService_CheckKeys_FullMethodName:                caller.RoleOperator,

	adminv1.TokenService_ListTokens_FullMethodName:  caller.RoleViewer,
	adminv1.TokenService_CreateToken_FullMethodName: caller.RoleOperator,
	adminv1.TokenService_UpdateToken_FullMethodName: caller.RoleOperator,
	adminv1.TokenService_DeleteToken_FullMethodName: caller.RoleOperator,

	adminv1.ProviderService_ListProviders_FullMethodName:  caller.RoleViewer,
	adminv1.ProviderService_GetProvider_FullMethodName:    caller.RoleViewer,
	adminv1.ProviderService_CreateProvider_FullMethodName: caller.RoleAdmin,
	adminv1.ProviderService_UpdateProvider_FullMethodName: caller.RoleAdmin,
	adminv1.ProviderService_DeleteProvider_FullMethodName: caller.RoleAdmin,

	adminv1.NodeService_ListNodes_FullMethodName:       caller.RoleViewer,
	adminv1.NodeService_GetNode_FullMethodName:         caller.RoleViewer,
	adminv1.NodeService_DrainNode_FullMethodName:       caller.RoleOperator,
	adminv1.NodeService_ResumeNode_FullMethodName:      caller.RoleOperator,
	adminv1.NodeService_EvictNode_FullMethodName:       caller.RoleAdmin,
	adminv1.NodeService_CreateJoinToken_FullMethodName: caller.RoleAdmin,

	adminv1.StatsService_GetStats_FullMethodName:       caller.RoleViewer,
	adminv1.StatsService_GetKeyStats_FullMethodName:    caller.RoleViewer,
	adminv1.StatsService_GetKeyHistory_FullMethodName:  caller.RoleViewer,
	adminv1.StatsService_GetPublicStats_FullMethodName: caller.RoleViewer,

	adminv1.CacheService_GetCacheStats_FullMethodName: caller.RoleViewer,
	adminv1.CacheService_ClearCache_FullMethodName:    caller.RoleOperator,
}

// changes says whether the method changes anything.
func changes(method string) bool { return policy[method] > caller.RoleViewer }
