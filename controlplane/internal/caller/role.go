package caller

// Role is what an admin may do. Each role may do all that the ones before it may.
type Role uint8

// The roles. The zero Role may do nothing.
const (
	RoleViewer   Role = 1 + iota // read
	RoleOperator                 // change keys and tokens
	RoleAdmin                    // everything
)

var roleNames = map[string]Role{"viewer": RoleViewer, "operator": RoleOperator, "admin": RoleAdmin}

// ParseRole reads a role's name; an unknown one is no role.
func ParseRole(name string) Role { return roleNames[name] }

// String answers the name.
func (r Role) String() string {
	for name, role := range roleNames {
		if role == r {
			return name
		}
	}
	return "none"
}

// Policy is the least role for each method, by its full name. A method that is not in it is refused.
type Policy map[string]Role

// Allows says whether the role is enough for the method.
func (p Policy) Allows(method string, role Role) bool {
	least, known := p[method]
	return known && least != 0 && role >= least
}
