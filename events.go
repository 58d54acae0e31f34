package ctor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
)

// Event is something that has happened in an engine. Which fields say something, its
// Action tells.
type Event struct {
	Cursor Cursor // for EventsAfter: this event, and all before it, are known
	Time   time.Time
	Kind   EventKind
	Action EventAction

	ID   string // of a container
	Name string // of what it has happened to, at that time; of an image the reference

	Container string // id of the container that was connected to a network, or disconnected
	Image     string // digest of the manifest, of an image, or that a container was made from
	Detail    string // of Health: what it is now
	Life      int    // of a container: which one, from 1 on
	ExitCode  int    // of Exited; -1: the end was not seen
	OOMKilled bool   // of Exited: the kernel has killed a process of the container for want of memory
}

// Cursor is a place in the events of a root and namespace, which programs may keep,
// and go on from after the engine was closed, or killed. 0 is before the first.
type Cursor uint64

// EventKind is what an event has happened to.
type EventKind string

// The kinds.
const (
	EventEngine    EventKind = events.Engine
	EventContainer EventKind = events.Container
	EventImage     EventKind = events.Image
	EventNetwork   EventKind = events.Network
	EventVolume    EventKind = events.Volume
)

// EventAction is what has happened.
type EventAction string

// The actions, and which events have them.
const (
	Created      EventAction = events.Created      // containers, networks, volumes
	Removed      EventAction = events.Removed      // containers, images' names, networks, volumes
	Renamed      EventAction = events.Renamed      // containers; Name is the new one
	Started      EventAction = events.Started      // containers: a life has begun
	Exited       EventAction = events.Exited       // containers: a life has ended
	Paused       EventAction = events.Paused       // containers
	Resumed      EventAction = events.Resumed      // containers
	Health       EventAction = events.Health       // containers; Detail is container.Health's word for it
	Named        EventAction = events.Named        // images: the name means Image now, by a pull, push, build, import, commit or tag
	Connected    EventAction = events.Connected    // networks
	Disconnected EventAction = events.Disconnected // networks
	Swept        EventAction = events.Swept        // the engine: the program before was killed, and what was attached to it is gone
)

// EventFilter chooses events. Of each of its fields that is not empty, an event must
// have one.
type EventFilter struct {
	Kinds      []EventKind   // empty: all
	Actions    []EventAction // likewise
	Containers []string      // ids, of ID or Container
	Names      []string      // of Name
}

// MissedEvents is the error that stands for events which were dropped before their
// reader came to read them. Those after it follow.
type MissedEvents struct {
	First, Last Cursor // of those that were dropped
}

// Error says how many they are.
func (m *MissedEvents) Error() string {
	return fmt.Sprintf("%d events were dropped before they were read", m.Last-m.First+1)
}

// Cursor is the place after the last event until now. Taken before a List, it is
// where EventsAfter gives everything that List does not show.
func (e *Engine) Cursor() Cursor { return Cursor(e.in.Events.Last()) }

// Events gives what happens from the time of the call on, as EventsAfter does.
func (e *Engine) Events(ctx context.Context) iter.Seq2[Event, error] {
	return e.EventsAfter(ctx, e.Cursor(), nil)
}

// EventsAfter gives the events after a cursor that a filter chooses, nil being all,
// and goes on with those that happen, until ctx or the engine ends: then its last
// error is that of ctx, or ErrClosed. Each event comes once, and those of one
// container in their order.
//
// A reader is no burden to the engine, however slow it is. The newest thousand
// events are in memory, and the newest 12 to 16 MiB of them, 50,000 and more, in files
// of the root; a reader that has missed older ones gets a *MissedEvents, and then what
// follows. A program that ends, or is killed, loses none that it was told of, unless
// the host goes down: the files are not synced. A cursor of what was lost then gets a
// *MissedEvents as well.
//
// What a detached container does while no engine is open is told by the next: its
// last start, and its end with the time of it. What was attached to a program that was
// killed is gone when the next engine tells of Swept. What a way out decides is told by
// Decisions, and not here: a container could fill the files with it. Of images, events
// are of this module's doing, not of what is done by way of [Engine.Containerd].
//
// An engine that Dial made has the events of this program alone, in memory, and its
// cursors end with it.
func (e *Engine) EventsAfter(ctx context.Context, after Cursor, of *EventFilter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for ev, err := range e.in.Events.After(ctx, uint64(after)) {
			event := eventOf(ev)
			if err == nil && !of.chooses(event) {
				continue
			}
			if !yield(event, eventError(err)) {
				return
			}
		}
	}
}

func eventError(err error) error {
	var missed *events.Missed
	switch {
	case errors.As(err, &missed):
		return &MissedEvents{Cursor(missed.First), Cursor(missed.Last)}
	case errors.Is(err, events.ErrClosed):
		err = engine.ErrClosed
	case err == nil:
		return nil
	}
	return fmt.Errorf("events: %w", err)
}

func eventOf(e events.Event) Event {
	return Event{
		Cursor: Cursor(e.Number), Time: e.Time, Kind: EventKind(e.Kind), Action: EventAction(e.Action),
		ID: e.ID, Name: e.Name, Container: e.Container, Image: e.Image, Detail: e.Detail,
		Life: e.Life, ExitCode: e.Code, OOMKilled: e.OOM,
	}
}

func (f *EventFilter) chooses(e Event) bool {
	if f == nil {
		return true
	}
	return among(f.Kinds, e.Kind) && among(f.Actions, e.Action) && among(f.Names, e.Name) &&
		(among(f.Containers, e.ID) || among(f.Containers, e.Container))
}

func among[T comparable](list []T, one T) bool { return len(list) == 0 || slices.Contains(list, one) }
