// Package events keeps what has happened in an engine, numbered, in memory and in a
// few files of bounded size, and gives it to any number of readers. A reader has only
// the number of what it has read last: it can't hold up those that write, and one that
// is too slow is told how much it has missed.
package events

import (
	"fmt"
	"time"
)

// Event is something that has happened.
type Event struct {
	Number uint64 // 1 more than the last
	Time   time.Time
	Kind   string `json:",omitempty"`
	Action string `json:",omitempty"`
	ID     string `json:",omitempty"`
	Name   string `json:",omitempty"`

	Container string `json:",omitempty"`
	Image     string `json:",omitempty"`
	Detail    string `json:",omitempty"`
	Life      int    `json:",omitempty"`
	Code      int    `json:",omitempty"`
	OOM       bool   `json:",omitempty"`
}

// The kinds of events.
const (
	Engine    = "engine"
	Container = "container"
	Image     = "image"
	Network   = "network"
	Volume    = "volume"
)

// What has happened.
const (
	Created      = "created"
	Removed      = "removed"
	Renamed      = "renamed"
	Started      = "started"
	Exited       = "exited"
	Paused       = "paused"
	Resumed      = "resumed"
	Health       = "health"
	Named        = "named"
	Connected    = "connected"
	Disconnected = "disconnected"
	Swept        = "swept"
)

// Missed is the error of a reader that was too slow, or came too late: events were
// dropped that it has not read.
type Missed struct {
	First, Last uint64 // their numbers
}

func (m *Missed) Error() string {
	return fmt.Sprintf("events %d to %d were dropped before they were read", m.First, m.Last)
}
