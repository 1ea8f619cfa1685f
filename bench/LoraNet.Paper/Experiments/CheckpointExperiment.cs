using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Paper.Running;

namespace LoraNet.Paper.Experiments;

/// <summary>Sizes of checkpoints on disk: an adapter's file against that of the whole model, both written as they would be kept.</summary>
internal static class CheckpointExperiment
{
    public static void Run(JobContext context)
    {
        string folder = Directory.CreateTempSubdirectory("loranet-paper").FullName;
        try
        {
            using (CausalLM model = CausalLM.Load(context.Settings.LanguageModel, context.Backends.Current))
                Measure(context, folder, "TinyStories-656K", model, context.Settings.LanguageModel, [], [["q_proj", "v_proj"]]);
            if (!Directory.Exists(context.Settings.Encoder)) return;
            using (SequenceClassifier model = SequenceClassifier.Load(context.Settings.Encoder, context.Backends.Current, ["0", "1"]))
                Measure(context, folder, "MiniLM-L6", model, context.Settings.Encoder, GlueExperiment.Head, [["query", "value"]]);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Measure(JobContext context, string folder, string name, PretrainedModel model, string source, IReadOnlyList<string> head, IReadOnlyList<string[]> targets)
    {
        string whole = Path.Combine(folder, name);
        ModelWriter.WriteMerged(model, source, whole, LoraNet.Tensors.DType.F32);
        long full = new FileInfo(Path.Combine(whole, "model.safetensors")).Length;
        foreach (string[] target in targets)
        {
            foreach (int rank in new[] { 1, 4, 8, 64 })
            {
                LoraAdapter adapter = Method.Lora(rank, target).Attach(model, head, 1);
                string output = Path.Combine(folder, $"{name}-r{rank}");
                AdapterFile.Save(output, model, adapter);
                context.Emit(new JsonObject
                {
                    ["experiment"] = "checkpoint",
                    ["model"] = name,
                    ["rank"] = rank,
                    ["targets"] = string.Join(",", target),
                    ["parameters"] = model.BaseParameterCount,
                    ["trained"] = adapter.ParameterCount,
                    ["model_bytes"] = full,
                    ["adapter_bytes"] = new FileInfo(Path.Combine(output, AdapterFile.TensorFileName)).Length,
                });
                model.DeleteAdapter("default");
            }
        }
    }
}
