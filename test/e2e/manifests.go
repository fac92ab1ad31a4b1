package e2e

// webapp is the application of the tour: three replicas behind a Service with a
// node port, settings from a ConfigMap and a Secret.
const webapp = `
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {GREETING: "hello from the config map"}
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {token: s3cret}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: proa.local/webapp:1.0
        envFrom: [{configMapRef: {name: web}}]
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
        livenessProbe: {httpGet: {path: /healthz, port: http}}
        volumeMounts: [{name: secret, mountPath: /secret}]
      volumes: [{name: secret, secret: {secretName: web}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
`

// toolbox is a pod with a shell and the client.
const toolbox = `
apiVersion: v1
kind: Pod
metadata: {name: toolbox, labels: {app: toolbox}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: toolbox
    image: proa.local/toolbox:1.0
    command: [sh, -c, 'echo started; trap "exit 0" TERM; while :; do sleep 1; done']
`
