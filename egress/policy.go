package egress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
)

// policy is a dialer as data. Exactly one of Public, Allow, Deny and Mux is set.
type policy struct {
	Public bool                `json:"public,omitempty"`
	Allow  *[]string           `json:"allow,omitempty"` // rules; none is a policy too
	Deny   *[]string           `json:"deny,omitempty"`  // rules, before Next
	Next   *policy             `json:"next,omitempty"`
	Mux    *map[string]*policy `json:"mux,omitempty"` // by key; nil closes it
}

// Marshal gives a policy that is data as JSON, for [Unmarshal]: [Public],
// [Allow], [Deny] before one, and a [Mux] of them. Any other dialer is a function
// of the program, or needs the program: that is ctor.ErrInvalid, and so is a
// malformed policy. nil is "null".
func Marshal(d Dialer) ([]byte, error) {
	if err := Check(d); err != nil {
		return nil, err
	}
	p := inquire(context.Background(), d, "").policy
	if p == nil && d != nil {
		return nil, fmt.Errorf("the egress policy is a function of the program: only Public, Allow, Deny and a Mux of them are data: %w", errdefs.ErrInvalidArgument)
	}
	return json.Marshal(p)
}

// Unmarshal gives the policy that [Marshal] was given. What it can't have made, or
// what another version of it has made that this one does not know, is
// ctor.ErrInvalid: no part of a policy is passed over.
func Unmarshal(data []byte) (Dialer, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var p *policy
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("egress policy: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if dec.More() {
		return nil, fmt.Errorf("egress policy: there is more behind it: %w", errdefs.ErrInvalidArgument)
	}
	d, err := p.dialer()
	if err != nil {
		return nil, err
	}
	return d, Check(d)
}

// dialer makes the dialer of a policy. It is nil of none.
func (p *policy) dialer() (Dialer, error) {
	if p == nil {
		return nil, nil
	}
	kinds := 0
	for _, is := range []bool{p.Public, p.Allow != nil, p.Deny != nil, p.Mux != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 || (p.Deny == nil) != (p.Next == nil) {
		return nil, fmt.Errorf("egress policy: it is of %d kinds, or lacks a part: %w", kinds, errdefs.ErrInvalidArgument)
	}
	switch {
	case p.Public:
		return Public, nil
	case p.Allow != nil:
		return Allow(*p.Allow...), nil
	case p.Deny != nil:
		next, err := p.Next.dialer()
		if err != nil {
			return nil, err
		}
		return Deny(*p.Deny...)(next), nil
	}
	m := Mux{}
	for key, below := range *p.Mux {
		d, err := below.dialer()
		if err != nil {
			return nil, err
		}
		m[key] = d
	}
	return m.Dial, nil
}

// muxPolicy is a table as data, if all that it leads to are.
func muxPolicy(table []entry, below []*question) *policy {
	keys := map[string]*policy{}
	for i, e := range table {
		if e.dial != nil && below[i].policy == nil {
			return nil
		}
		keys[e.key] = below[i].policy
	}
	return &policy{Mux: &keys}
}
