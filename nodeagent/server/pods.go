package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	kubelettypes "k8s.io/kubelet/pkg/types"
)

// pods lists the pods bound to the node: GET /pods.
func (s *Server) pods(w http.ResponseWriter, r *http.Request) {
	list := newPodList()
	for _, pod := range s.o.Backend.Pods() {
		list.Items = append(list.Items, *pod)
	}
	writeJSON(w, r, list)
}

// runningPods lists what the runtime runs, known to the API or not: GET
// /runningpods/.
func (s *Server) runningPods(w http.ResponseWriter, r *http.Request) {
	containers, err := s.o.Runtime.ListContainers(r.Context(), &runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}})
	if err != nil {
		writeText(w, http.StatusInternalServerError, err.Error())
		return
	}
	writeJSON(w, r, podsOf(containers))
}

// podsOf makes pods from what containers say of theirs.
func podsOf(containers []*runtimeapi.Container) *v1.PodList {
	list := newPodList()
	byUID := map[string]int{}
	for _, c := range containers {
		uid := kubelettypes.GetPodUID(c.Labels)
		if uid == "" {
			continue // not a pod's
		}
		i, ok := byUID[uid]
		if !ok {
			i = len(list.Items)
			byUID[uid] = i
			list.Items = append(list.Items, v1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: kubelettypes.GetPodNamespace(c.Labels), Name: kubelettypes.GetPodName(c.Labels), UID: types.UID(uid),
			}})
		}
		var image string
		if c.Image != nil {
			image = c.Image.Image
		}
		list.Items[i].Spec.Containers = append(list.Items[i].Spec.Containers, v1.Container{Name: kubelettypes.GetContainerName(c.Labels), Image: image})
	}
	for i := range list.Items {
		slices.SortFunc(list.Items[i].Spec.Containers, func(a, b v1.Container) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(list.Items, func(a, b v1.Pod) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return list
}

func newPodList() *v1.PodList {
	return &v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []v1.Pod{}}
}

func writeJSON(w http.ResponseWriter, r *http.Request, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		writeText(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(data); err != nil {
		klog.FromContext(r.Context()).V(4).Info("The client left before the answer", "err", err)
	}
}

// health answers whether the agent works: GET /healthz.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if s.o.Healthy != nil {
		if err := s.o.Healthy(); err != nil {
			writeText(w, http.StatusInternalServerError, "unhealthy: "+err.Error())
			return
		}
	}
	writeText(w, http.StatusOK, "ok")
}

// configz shows the agent's configuration: GET /configz.
func (s *Server) configz(w http.ResponseWriter, r *http.Request) {
	config := s.o.Config
	if config == nil {
		config = struct{}{}
	}
	writeJSON(w, r, map[string]any{"kubeletconfig": config})
}
