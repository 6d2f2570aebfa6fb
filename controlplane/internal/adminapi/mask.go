package adminapi

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// changed answers the fields that an update changes. The mask may name id and revision too: over REST it is made from the
// body's fields, and these say what is meant and what is known of it.
func changed(mask *fieldmaskpb.FieldMask, changeable ...string) ([]string, error) {
	var fields []string
	for _, path := range mask.GetPaths() {
		switch {
		case path == "id" || path == "revision" || path == "": // the gateway makes the last one of an empty body
		case slices.Contains(changeable, path):
			fields = append(fields, path)
		default:
			return nil, invalid(lowerCamel(path), "cannot be changed")
		}
	}
	if len(fields) == 0 {
		return nil, invalid("", "name at least one field to change")
	}
	return fields, nil
}

// withParts adds the parts of the messages that are named as a whole.
func withParts(fields []string, parts map[string][]string) []string {
	all := slices.Clone(fields)
	for _, f := range fields {
		all = append(all, parts[f]...)
	}
	return all
}

// outdated says whether the caller has based the change on another revision than the current one.
func outdated(given string, current uint64) bool {
	return given != "" && given != strconv.FormatUint(current, 10)
}
