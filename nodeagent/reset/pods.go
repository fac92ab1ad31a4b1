package reset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	answerLimit = 3 * time.Second
	stopLimit   = 30 * time.Second
	stopAtOnce  = 8
)

// stopPods stops and removes all pods through the runtime, which also undoes
// their networking. A runtime that does not answer is no failure: the later
// steps remove what it leaves.
func (h *host) stopPods(ctx context.Context) error {
	h.collectPods()
	conn, err := grpc.NewClient("unix://"+h.layout.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := runtimeapi.NewRuntimeServiceClient(conn)
	ask, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	list, err := client.ListPodSandbox(ask, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, stopAtOnce)
	failures := make([]error, len(list.Items))
	for i, box := range list.Items {
		h.boxes[box.Id] = true
		h.pods[box.GetMetadata().GetUid()] = true
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failures[i] = stopPod(ctx, client, box)
		})
	}
	wg.Wait()
	for i, box := range list.Items {
		name := box.GetMetadata().GetNamespace() + "/" + box.GetMetadata().GetName()
		if err := failures[i]; err != nil {
			// No failure of the reset: what is left of the pod goes next.
			h.Report(fmt.Sprintf("pod %s did not stop in order and is killed: %v", name, err))
			continue
		}
		h.removed("pod %s", name)
	}
	return ctx.Err()
}

func stopPod(ctx context.Context, client runtimeapi.RuntimeServiceClient, box *runtimeapi.PodSandbox) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	_, err := client.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: box.Id})
	if err == nil {
		_, err = client.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: box.Id})
	}
	return err
}

// collectPods gathers what identifies the cluster's pods from what they left on
// disk, for a runtime that no longer runs.
func (h *host) collectPods() {
	agents, _ := filepath.Glob(filepath.Join(h.DataDir, "*", "pods")) // the node agent's directory
	for _, dir := range subdirectories(append(agents, filepath.Join(h.DataDir, "pods"))...) {
		h.pods[filepath.Base(dir)] = true
	}
	for _, dir := range subdirectories(
		filepath.Join(h.layout.Root, "io.containerd.grpc.v1.cri", "sandboxes"),
		filepath.Join(h.layout.State, "io.containerd.grpc.v1.cri", "sandboxes"),
	) {
		h.boxes[filepath.Base(dir)] = true
	}
	for _, root := range cgroupRoots() {
		_ = filepath.WalkDir(filepath.Join(root, h.names.CgroupParent), func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				if uid, ok := podUID(path); ok {
					h.pods[uid] = true
				}
			}
			return nil
		})
	}
}

func subdirectories(dirs ...string) []string {
	var found []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	return found
}
