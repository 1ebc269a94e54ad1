#!/bin/sh
# Builds, pushes or loads the images of the chatbot with what is there: docker with buildx, docker, buildah or podman.
#
#   sh devtools/images.sh build|push|load [chat|chat-speech|history|loadtest]...      all but chat-speech when none is named
#
# chat-speech is chat with what recognizes speech and speaks better.
#
# From the environment:
#   REGISTRY      put before the names, e.g. registry.example.com/team; needed to push
#   TAG           of the images; the version of the chart when it is not set
#   PLATFORMS     e.g. linux/amd64,linux/arm64: images for several architectures. docker keeps them in its cache until they are pushed
#   BASE_IMAGE    what they are built on, best by digest: python:3.11-slim-bookworm@sha256:...
#   BUILDER       buildx, docker, buildah or podman; the first that is there when it is not set
#   KIND_CLUSTER  where "load" puts them, chatbot by default
set -eu
cd "$(dirname "$0")/.."

fail() { printf '%s\n' "$1" >&2; exit 2; }
has() { command -v "$1" >/dev/null 2>&1; }

action=${1:-}
[ $# -gt 0 ] && shift
case $action in build | push | load) ;; *) fail "usage: images.sh build|push|load [chat|chat-speech|history|loadtest]..." ;; esac
[ $# -gt 0 ] || set -- chat history loadtest

choose() {
    if has docker && docker buildx version >/dev/null 2>&1; then echo buildx
    elif has docker; then echo docker
    elif has buildah; then echo buildah
    elif has podman; then echo podman
    else fail "there is none of docker, buildah and podman"
    fi
}
builder=${BUILDER:-$(choose)}
version=$(sed -n 's/^appVersion: //p' charts/chatbot/Chart.yaml)
tag=${TAG:-$version}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

name_of() { printf '%schatbot-%s:%s' "${REGISTRY:+${REGISTRY%/}/}" "$1" "$tag"; }

dockerfile_of() {
    case $1 in
        chat | history) echo "apps/$1/Dockerfile" ;;
        chat-speech) echo apps/chat/Dockerfile ;;
        loadtest) echo loadtest/Dockerfile ;;
        *) fail "there is no image of $1: chat, chat-speech, history or loadtest" ;;
    esac
}

# build NAME DOCKERFILE PUSH: PUSH is "yes" where an image leaves the builder at once.
build() {
    image=$1 file=$2 push=$3
    set -- --file "$file" --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
    case $image in *chatbot-chat-speech:*) set -- "$@" --target speech ;; esac
    [ -z "${BASE_IMAGE:-}" ] || set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"
    [ -z "${PLATFORMS:-}" ] || set -- "$@" --platform "$PLATFORMS"
    case $builder in
        buildx)
            if [ "$push" = yes ]; then set -- "$@" --push --provenance=mode=max --sbom=true
            elif [ -z "${PLATFORMS:-}" ]; then set -- "$@" --load
            fi
            docker buildx build "$@" --tag "$image" . ;;
        docker)
            [ -z "${PLATFORMS:-}" ] || fail "docker without buildx builds for one architecture"
            docker build "$@" --tag "$image" . ;;
        buildah | podman)
            if [ -n "${PLATFORMS:-}" ]; then "$builder" build "$@" --manifest "$image" .
            else "$builder" build "$@" --tag "$image" .
            fi ;;
        *) fail "BUILDER=$builder: buildx, docker, buildah or podman" ;;
    esac
}

push() {
    image=$1 file=$2
    case $builder in
        buildx) build "$image" "$file" yes ;; # from its cache
        docker) docker push "$image" ;;
        *)
            if [ -n "${PLATFORMS:-}" ]; then "$builder" manifest push --all "$image" "docker://$image"
            else "$builder" push "$image" "docker://$image"
            fi ;;
    esac
}

load() {
    has kind || fail "needs kind, https://kind.sigs.k8s.io"
    case $builder in
        buildx | docker) kind load docker-image "$1" --name "${KIND_CLUSTER:-chatbot}" ;;
        *)
            archive=$(mktemp -d)/image.tar
            "$builder" push "$1" "docker-archive:$archive:$1"
            kind load image-archive "$archive" --name "${KIND_CLUSTER:-chatbot}"
            rm -r "$(dirname "$archive")" ;;
    esac
}

[ "$action" != push ] || [ -n "${REGISTRY:-}" ] || fail "REGISTRY is needed to push, e.g. registry.example.com/team"
[ "$action" != load ] || [ -z "${PLATFORMS:-}" ] || fail "kind takes images of one architecture: PLATFORMS must be empty"
for part in "$@"; do
    image=$(name_of "$part") file=$(dockerfile_of "$part")
    printf '%s %s with %s\n' "$action" "$image" "$builder"
    case $action in
        build) build "$image" "$file" no ;;
        push) push "$image" "$file" ;;
        load) load "$image" ;;
    esac
done
