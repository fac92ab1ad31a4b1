package plugins

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"proa/controllers/scheduler/framework"
)

// Image sizes, in bytes, between which the score grows from 0 to MaxNodeScore:
// below, a pull is cheap; above (per container), all are equally dear.
const (
	minImageSize          int64 = 23 << 20
	maxImageSizeContainer int64 = 1000 << 20
)

// ImageLocality prefers nodes that already have the pod's large images,
// weighted by how widely each is spread, so that one node with an image does
// not draw all the pods.
type ImageLocality struct{}

// Name implements framework.Plugin.
func (ImageLocality) Name() string { return "ImageLocality" }

// Events implements framework.Plugin; it rejects nothing.
func (ImageLocality) Events() []framework.EventHint { return nil }

// Shape implements framework.Plugin.
func (ImageLocality) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	images := podImages(pod.Object)
	key = key.Int(int64(len(images)))
	for _, image := range images {
		key = key.String(image)
	}
	return key.Int(int64(len(pod.Object.Spec.InitContainers) + len(pod.Object.Spec.Containers)))
}

// Prepare implements framework.Plugin.
func (ImageLocality) Prepare(pod *framework.Pending, cluster *framework.Cluster) framework.Prepared {
	images := podImages(pod.Object)
	containers := int64(len(pod.Object.Spec.InitContainers) + len(pod.Object.Spec.Containers))
	known := func() bool {
		return slices.ContainsFunc(images, func(image string) bool { return cluster.ImageNodes(image) > 0 })
	}
	return framework.Prepared{
		Score: func(n *framework.Node) int64 {
			if len(n.Images) == 0 || containers == 0 {
				return 0
			}
			var sum int64
			for _, image := range images {
				if size, ok := n.Images[image]; ok {
					sum += int64(float64(size) * float64(cluster.ImageNodes(image)) / float64(cluster.Len()))
				}
			}
			largest := maxImageSizeContainer * containers
			sum = min(max(sum, minImageSize), largest)
			return framework.MaxNodeScore * (sum - minImageSize) / (largest - minImageSize)
		},
		// The spread of an image, and so the score of every node that has it,
		// changes when other nodes pull it or come and go.
		Version: func() uint64 {
			if !known() {
				return 0
			}
			return cluster.ImagesVersion()
		},
	}
}

// podImages lists the images of init containers, containers and image volumes,
// with repeats, each with a tag as nodes report them.
func podImages(pod *v1.Pod) []string {
	var images []string
	add := func(name string) {
		if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
			name += ":latest"
		}
		images = append(images, name)
	}
	for i := range pod.Spec.InitContainers {
		add(pod.Spec.InitContainers[i].Image)
	}
	for i := range pod.Spec.Containers {
		add(pod.Spec.Containers[i].Image)
	}
	for i := range pod.Spec.Volumes {
		if image := pod.Spec.Volumes[i].Image; image != nil {
			add(image.Reference)
		}
	}
	return images
}
