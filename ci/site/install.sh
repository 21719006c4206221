#!/usr/bin/env bash
# What the browser tests need, on Debian and its relatives: a browser, its driver, and axe-core, unpacked to the folder
# given (default: target/axe). Then: AXE_CORE=target/axe/package/axe.min.js ci/site/browser.py target/release/verify
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
  apt-get install -y chromium chromium-driver
fi
folder=${1:-target/axe}
mkdir -p "$folder"
(cd "$folder" && tar xzf "$(npm pack --silent axe-core)")
ls "$folder/package/axe.min.js"
