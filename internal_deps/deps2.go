package deps
import (
	_ "sigs.k8s.io/controller-runtime/pkg/client/fake"
	_ "k8s.io/client-go/kubernetes/fake"
	_ "github.com/google/go-cmp/cmp"
	_ "k8s.io/utils/clock/testing"
	_ "github.com/fsnotify/fsnotify"
)
