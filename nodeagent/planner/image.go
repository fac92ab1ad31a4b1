package planner

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

const (
	pullBackoff    = 10 * time.Second
	pullBackoffMax = 5 * time.Minute
	// imageLook is how often a missing image is looked for while its pull is in
	// backoff: it may have been imported meanwhile.
	imageLook = 10 * time.Second
	// imageTold is how long the pull's own error stays the waiting reason
	// before the backoff takes its place.
	imageTold = 2 * time.Second
)

// Waiting reasons around images, as upstream's.
const (
	ErrImagePull       = "ErrImagePull"
	ImagePullBackOff   = "ImagePullBackOff"
	ErrImageNeverPull  = "ErrImageNeverPull"
	InvalidImageName   = "InvalidImageName"
	ImageInspectError  = "ImageInspectError"
	RegistryUnavailble = "RegistryUnavailable"
)

// image sees to a container's image; it returns its reference once present.
func (p *pass) image(c *v1.Container) (string, bool) {
	key := "image/" + c.Name
	im := p.images[c.Name]
	if im != nil && im.ref != "" {
		return im.ref, true
	}
	if im == nil {
		p.begin(Action{Verb: EnsureImage, Key: key, Container: c.Name})
		return "", false
	}
	if im.reason == ErrImagePull || im.reason == RegistryUnavailble {
		if told := im.failedAt.Add(imageTold); p.now.Before(told) {
			p.plan.Waiting[c.Name] = Waiting{Reason: im.reason, Message: im.message}
			p.wake(told)
		} else {
			message := fmt.Sprintf("Back-off pulling image %q", c.Image)
			p.plan.Waiting[c.Name] = Waiting{Reason: ImagePullBackOff, Message: fmt.Sprintf("%s: %s: %s", message, im.reason, im.message)}
			if !im.told {
				im.told = true
				p.plan.Events = append(p.plan.Events, Event{Container: c.Name, Type: v1.EventTypeNormal, Reason: "BackOff", Message: message},
					Event{Container: c.Name, Type: v1.EventTypeWarning, Reason: "Failed", Message: "Error: " + ImagePullBackOff})
			}
		}
	} else {
		p.plan.Waiting[c.Name] = Waiting{Reason: im.reason, Message: im.message}
	}
	switch {
	case !p.now.Before(im.retryAt):
		p.begin(Action{Verb: EnsureImage, Key: key, Container: c.Name})
	case !p.now.Before(im.lookAt):
		im.lookAt = p.now.Add(imageLook)
		p.begin(Action{Verb: EnsureImage, Key: key, Container: c.Name, PresentOnly: true})
	default:
		p.wake(im.retryAt)
		p.wake(im.lookAt)
	}
	return "", false
}

// imageDone takes the outcome of an EnsureImage in.
func (s *State) imageDone(a Action, r Result, now time.Time) {
	if s.images == nil {
		s.images = map[string]*imageState{}
	}
	im := s.images[a.Container]
	if im == nil {
		im = &imageState{}
		s.images[a.Container] = im
	}
	if r.Err == nil && r.ImageRef != "" {
		*im = imageState{ref: r.ImageRef}
		return
	}
	if a.PresentOnly || a.Message == "cancelled" {
		return
	}
	im.reason, im.message = r.Reason, ""
	if r.Err != nil {
		im.message = r.Err.Error()
	}
	if im.reason == "" {
		im.reason = ErrImagePull
	}
	next := retry{failures: im.failures}.after(now, pullBackoff, pullBackoffMax)
	im.failures, im.retryAt = next.failures, next.at
	im.failedAt, im.told = now, false
	im.lookAt = now.Add(imageLook)
	if im.reason == ErrImageNeverPull || im.reason == InvalidImageName {
		// Nothing is asked of a registry: look again at a steady pace.
		im.failures, im.retryAt = 1, now.Add(pullBackoff)
	}
}
