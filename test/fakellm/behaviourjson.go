package fakellm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// behaviourFields is Behaviour without its methods, so that encoding it does not
// come back here.
type behaviourFields Behaviour

// behaviourWire writes the durations as people do. Its own fields hide those of
// the same name one level down.
type behaviourWire struct {
	*behaviourFields
	ResetIn       string `json:"reset_in,omitempty"`
	Delay         string `json:"delay,omitempty"`
	ChunkInterval string `json:"chunk_interval,omitempty"`
}

// MarshalJSON writes durations as strings such as "1.5s".
func (b Behaviour) MarshalJSON() ([]byte, error) {
	return json.Marshal(behaviourWire{
		behaviourFields: (*behaviourFields)(&b),
		ResetIn:         durationText(b.ResetIn),
		Delay:           durationText(b.Delay),
		ChunkInterval:   durationText(b.ChunkInterval),
	})
}

// UnmarshalJSON reads what MarshalJSON writes. A field that does not exist is an
// error, because a misspelt fault would otherwise be a fault that never happens.
func (b *Behaviour) UnmarshalJSON(data []byte) error {
	var fields behaviourFields
	wire := behaviourWire{behaviourFields: &fields}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&wire); err != nil {
		return err
	}
	for _, d := range []struct {
		field, text string
		to          *time.Duration
	}{
		{"reset_in", wire.ResetIn, &fields.ResetIn},
		{"delay", wire.Delay, &fields.Delay},
		{"chunk_interval", wire.ChunkInterval, &fields.ChunkInterval},
	} {
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return fmt.Errorf("%s: %q is no duration; write it like 250ms or 1m30s", d.field, d.text)
		}
		*d.to = v
	}
	*b = Behaviour(fields)
	return nil
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
