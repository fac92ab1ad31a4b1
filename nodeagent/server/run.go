package server

import (
	"net/http"
	"strings"
)

// run runs a command in a container and answers with its output: POST
// /run/{namespace}/{pod}/[{uid}/]{container}?cmd=…
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	pod, ok := s.findPod(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if !ok {
		writeText(w, http.StatusNotFound, "pod does not exist")
		return
	}
	id, err := execTarget(pod, r.PathValue("container"))
	if err != nil {
		writeStreamError(w, err)
		return
	}
	command := r.URL.Query().Get("cmd")
	if command == "" {
		writeText(w, http.StatusBadRequest, "query parameter \"cmd\" is required")
		return
	}
	result, err := s.o.Runtime.ExecSync(r.Context(), id, strings.Split(command, " "), 0)
	if err != nil {
		writeStreamError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(result.Stdout)
	_, _ = w.Write(result.Stderr)
}
