#!/usr/bin/env bash
# LoRA, full fine-tuning and a linear probe of one encoder on five GLUE tasks, three seeds each; prints a table.
#   bench/LoraNet.Encoders/glue.sh MODEL GLUE_FOLDER [options of the glue command, such as --device cuda or --rows 2000]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$1 data=$2
shift 2
dotnet build "$here" -c Release -v q >&2
echo "| task | method | trained | rows | epochs | steps | rate | seed | development set | its rows | training |"
echo "|---|---|---|---|---|---|---|---|---|---|---|"
for task in sst2 cola stsb mrpc rte; do
  for method in lora full probe; do
    for seed in 1 2 3; do
      dotnet "$here/bin/Release/net10.0/LoraNet.Encoders.dll" glue "$model" "$data" "$task" "$method" --seed "$seed" "$@"
    done
  done
done
