// Package store keeps what the control plane must not forget: the configuration in config.db, which this part of the
// package is about, and the counts in stats.db.
//
// A Store has one writer, a goroutine that runs the functions given to Update one after another and commits those that
// have gathered together, with one sync. Update answers once its change is on disk. A function's writes are staged until
// it returns nil, so one that fails changes nothing, while its neighbours in the same commit go on.
//
// Each change of a key, token, provider or node takes a revision of its own, and is told to OnCommit in the order of
// revisions, after it is on disk and before Update returns. So nobody can learn of a change that a power cut takes back.
//
// After a crash the next Open checks the whole file and opens every sealed value before it answers. Whatever is wrong, it
// refuses and leaves all files as they are. Upstream keys, join tokens and private keys are sealed; of client tokens and
// admin credentials only digests are here.
package store
