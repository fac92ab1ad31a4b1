package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// criFloor is the median time in ms of a pod made by bare CRI calls on the
// cluster's own containerd: sandbox, container, start.
func criFloor(ctx context.Context, c *cluster) (float64, error) {
	id, err := os.ReadFile(filepath.Join(c.dir, "cluster-id"))
	if err != nil {
		return 0, err
	}
	conn, err := grpc.NewClient("unix:///run/proa-"+strings.TrimSpace(string(id))+"/containerd.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	cri := runtimeapi.NewRuntimeServiceClient(conn)
	var took []float64
	for i := range podRounds {
		sandbox := &runtimeapi.PodSandboxConfig{
			Metadata:     &runtimeapi.PodSandboxMetadata{Name: fmt.Sprintf("floor-%d", i), Namespace: "floor", Uid: fmt.Sprintf("floor-%d", i)},
			LogDirectory: filepath.Join(c.dir, "floor"),
			Linux:        &runtimeapi.LinuxPodSandboxConfig{},
		}
		begin := time.Now()
		s, err := cri.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: sandbox})
		if err != nil {
			return 0, err
		}
		k, err := cri.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: s.PodSandboxId, SandboxConfig: sandbox,
			Config: &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "web"},
				Image: &runtimeapi.ImageSpec{Image: benchedImage}, LogPath: "0.log", Linux: &runtimeapi.LinuxContainerConfig{}}})
		if err != nil {
			return 0, err
		}
		if _, err := cri.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: k.ContainerId}); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin).Seconds()*1000)
		if _, err := cri.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.PodSandboxId}); err != nil {
			return 0, err
		}
		if _, err := cri.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.PodSandboxId}); err != nil {
			return 0, err
		}
	}
	return median(took), nil
}
