// Prefill and decode speed of llama.cpp's Vulkan backend, as JSON on stdout:
//   node llama_vulkan.mjs PACKAGES MODEL.gguf [PROMPT_TOKENS] [GENERATE_TOKENS]
// PACKAGES is a folder in which `npm install node-llama-cpp @node-llama-cpp/linux-x64-vulkan` was run.
// GGML_VK_VISIBLE_DEVICES=0 makes the backend take software devices too.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [packages, model, prompt = "32", generate = "8"] = process.argv.slice(2);
const require = createRequire(`${packages}/package.json`);
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const llama = await getLlama({gpu: "vulkan", build: "never", logLevel: LlamaLogLevel.error});
if (llama.gpu !== "vulkan") throw new Error(`llama.cpp runs on ${llama.gpu || "the cpu"}`);
const loaded = await llama.loadModel({modelPath: model, gpuLayers: "max", ignoreMemorySafetyChecks: true});
const context = await loaded.createContext({contextSize: 512, batchSize: 512, ignoreMemorySafetyChecks: true});
const tokens = Array.from({length: Number(prompt)}, (_, i) => (i * 7919) % 49152);
const seconds = async (work) => {
    const start = process.hrtime.bigint();
    await work();
    return Number(process.hrtime.bigint() - start) / 1e9;
};
let best = [Infinity, Infinity];
const sequence = context.getSequence();
for (let run = 0; run < 2; run++) {
    await sequence.clearHistory();
    const prefill = await seconds(() => sequence.evaluateWithoutGeneratingNewTokens(tokens));
    const decode = await seconds(async () => {
        for (let i = 0; i < Number(generate); i++) {
            await sequence.evaluateWithoutGeneratingNewTokens([tokens[i % tokens.length]]);
        }
    });
    best = [Math.min(best[0], prefill), Math.min(best[1], decode)];
}
console.log(JSON.stringify({
    prefill_tokens_per_s: tokens.length / best[0],
    decode_tokens_per_s: Number(generate) / best[1],
    devices: await llama.getGpuDeviceNames(),
}));
process.exit(0);
