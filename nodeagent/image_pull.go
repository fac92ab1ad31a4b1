package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/image"
	"proa/nodeagent/planner"
)

// Keyring gives the credentials to try for an image, best first. The pod's
// pull secrets and those of its service account are for it to read.
type Keyring interface {
	Credentials(ctx context.Context, pod *v1.Pod, image string) ([]*runtimeapi.AuthConfig, error)
}

// pulls lets one pull of an image run at a time.
type pulls struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

// lock waits for its turn on image; the function it returns ends the turn.
func (p *pulls) lock(ctx context.Context, image string) (func(), error) {
	for {
		p.mu.Lock()
		if p.busy == nil {
			p.busy = map[string]chan struct{}{}
		}
		ch, busy := p.busy[image]
		if !busy {
			ch = make(chan struct{})
			p.busy[image] = ch
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				delete(p.busy, image)
				p.mu.Unlock()
				close(ch)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pullPolicy is the container's, or the default for its tag.
func pullPolicy(c *v1.Container) v1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	if i := strings.LastIndexByte(c.Image, ':'); !strings.Contains(c.Image, "@") &&
		(i < strings.LastIndexByte(c.Image, '/') || i < 0 || c.Image[i+1:] == "latest") {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

// ensureImage finds or pulls a container's image.
func (a *Agent) ensureImage(ctx context.Context, w *worker, pod *v1.Pod, act planner.Action) planner.Result {
	c := containerSpec(pod, act.Container)
	if c == nil {
		return planner.Result{Err: fmt.Errorf("pod has no container %q", act.Container), Reason: planner.InvalidImageName}
	}
	full, err := image.Normalize(c.Image)
	if err != nil {
		msg := fmt.Sprintf("Failed to apply default image tag %q: %v", c.Image, err)
		a.events.container(pod, c.Name, v1.EventTypeWarning, "InspectFailed", msg)
		a.events.container(pod, c.Name, v1.EventTypeWarning, "Failed", "Error: "+planner.InvalidImageName)
		return planner.Result{Err: errors.New(msg), Reason: planner.InvalidImageName}
	}
	policy := pullPolicy(c)
	if policy != v1.PullAlways || act.PresentOnly {
		img, err := a.image(ctx, c.Image, full)
		if err != nil {
			msg := fmt.Sprintf("Failed to inspect image %q: %v", c.Image, err)
			a.events.container(pod, c.Name, v1.EventTypeWarning, "InspectFailed", msg)
			return planner.Result{Err: errors.New(msg), Reason: planner.ImageInspectError}
		}
		if img != nil && policy != v1.PullAlways {
			msg := fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image)
			if policy == v1.PullNever {
				msg = fmt.Sprintf("Container image %q already present on machine", c.Image)
			}
			a.events.container(pod, c.Name, v1.EventTypeNormal, "Pulled", msg)
			return a.present(w, c.Name, img)
		}
		if act.PresentOnly {
			return planner.Result{}
		}
	}
	if policy == v1.PullNever {
		msg := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
		a.events.container(pod, c.Name, v1.EventTypeWarning, planner.ErrImageNeverPull, msg)
		a.events.container(pod, c.Name, v1.EventTypeWarning, "Failed", "Error: "+planner.ErrImageNeverPull)
		return planner.Result{Err: errors.New(msg), Reason: planner.ErrImageNeverPull}
	}
	start := a.o.Clock.Now()
	unlock, err := a.pulls.lock(ctx, full)
	if err != nil {
		return planner.Result{Err: err, Reason: planner.ErrImagePull}
	}
	defer unlock()
	if policy == v1.PullIfNotPresent {
		// Whoever was before may have brought it.
		if img, err := a.image(ctx, c.Image, full); err == nil && img != nil {
			a.events.container(pod, c.Name, v1.EventTypeNormal, "Pulled",
				fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image))
			return a.present(w, c.Name, img)
		}
	}
	a.events.container(pod, c.Name, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	pullStart := a.o.Clock.Now()
	if err := a.pull(ctx, pod, full); err != nil {
		msg := fmt.Sprintf("failed to pull image %q: %v", c.Image, err)
		a.events.container(pod, c.Name, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", c.Image, err))
		a.events.container(pod, c.Name, v1.EventTypeWarning, "Failed", "Error: "+planner.ErrImagePull)
		return planner.Result{Err: errors.New(msg), Reason: planner.ErrImagePull}
	}
	img, err := a.image(ctx, c.Image, full)
	if err != nil || img == nil {
		return planner.Result{Err: fmt.Errorf("image %q is not there after its pull: %v", c.Image, err), Reason: planner.ErrImagePull}
	}
	now := a.o.Clock.Now()
	a.events.container(pod, c.Name, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %v bytes.",
		c.Image, now.Sub(pullStart).Truncate(time.Millisecond), now.Sub(start).Truncate(time.Millisecond), img.Size))
	return a.present(w, c.Name, img)
}

// present records the image for the container's start.
func (a *Agent) present(w *worker, container string, img *runtimeapi.Image) planner.Result {
	w.setUser(container, img.Id, userOf(img))
	return planner.Result{ImageRef: img.Id}
}

// image looks an image up as the user wrote it and in full.
func (a *Agent) image(ctx context.Context, given, full string) (*runtimeapi.Image, error) {
	img, err := a.runtime.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: full, UserSpecifiedImage: given})
	if err == nil && img == nil && given != full {
		img, err = a.runtime.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: given, UserSpecifiedImage: given})
	}
	return img, err
}

// pull tries the credentials in turn, then none.
func (a *Agent) pull(ctx context.Context, pod *v1.Pod, image string) error {
	sandbox, err := a.sandboxConfig(pod, 0)
	if err != nil {
		return err
	}
	var creds []*runtimeapi.AuthConfig
	if creds, err = a.o.PullKeyring.Credentials(ctx, pod, image); err != nil {
		return err
	}
	if len(creds) == 0 {
		creds = []*runtimeapi.AuthConfig{nil}
	}
	var errs []error
	for _, auth := range creds {
		_, err := a.runtime.PullImage(ctx, &runtimeapi.ImageSpec{Image: image}, auth, sandbox)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
