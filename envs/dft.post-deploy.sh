#!/usr/bin/env bash
# GPAW is compiled at installation, and its C++ files need a C++ compiler under the name CC.
set -euo pipefail
CC="${CXX:-g++}" python -m pip install gpaw==26.7.0 gpaw-data==1.2.1
