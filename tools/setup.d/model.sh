# shellcheck shell=bash
# The default detection model, models/centernet-512.onnx. Sourced by tools/setup.
#
# The weights come in an npm package (MIT) in TensorFlow.js' form; our converter turns them into an
# ONNX file that reads like an Ultralytics export. Its output is the same to the byte everywhere, so
# it is pinned as well.

model_package=@vladmandic/human@3.3.6
model_integrity=sha512-Nr5mPfq1gQ+uKeXY5uM3Fj8UxvF5CEh2s6txM5wRThqaW0mF9huooOuZSrT8hhGho0hGaXLFdAwfD/2+teCv6A==
model_file=models/centernet-512.onnx

model_ready() { intact . $model_file; }

model_packages() { node_packages; echo openssl; }

model_make() {
    npm_files "$model_package" "$model_integrity" centernet/centernet.json=models/centernet.json \
        centernet/centernet.bin=models/centernet.bin
    did=1
    say "converting the default model"
    node tools/convert-centernet.mjs "$cache/centernet/centernet.json" $model_file
    if ! model_ready; then
        local digest
        digest=$(sha256sum <$model_file | cut -d' ' -f1)
        die "$model_file came out with another digest ($digest) than tools/setup.d/pins.sha256 \
says; if the converter was changed on purpose, note the new digest there"
    fi
    say "the default model is $model_file"
}
