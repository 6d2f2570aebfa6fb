package adminapi

// HasPolicy says whether anybody may call the method.
func HasPolicy(method string) bool { return policy[method] != 0 }

// Policies answers how many there are.
func Policies() int { return len(policy) }
