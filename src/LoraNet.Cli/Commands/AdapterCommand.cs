using System.CommandLine;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet adapter inspect</c>: what is inside an adapter folder, without its model.</summary>
internal static class AdapterCommand
{
    public static Command Create(CommandContext context)
    {
        Command adapter = new("adapter", "Look into adapters and combine them.");
        Command inspect = new("inspect", "Settings, tensors and their norms.");
        Argument<string> folder = new("folder") { Description = "An adapter folder." };
        Option<bool> json = AllCommands.JsonOption();
        inspect.Add(folder);
        inspect.Add(json);
        inspect.SetAction((parse, _) => Task.FromResult(Inspect(parse.GetValue(folder)!, context.Terminal(parse.GetValue(json)))));
        adapter.Add(inspect);
        adapter.Add(CombineCommand.Create(context));
        adapter.Add(ExtractCommand.Create(context));
        adapter.Add(ConvertCommand.Create(context));
        return adapter;
    }

    private static int Inspect(string folder, Terminal terminal)
    {
        if (!Directory.Exists(folder)) throw new LoraNetException($"The adapter folder {folder} does not exist.", "Give the folder that PEFT or loranet wrote.");
        PeftAdapterConfig stored = AdapterConfigJson.Read(folder);
        LoraConfig config = AdapterFile.ReadConfig(folder);
        string path = Path.Combine(folder, AdapterFile.TensorFileName);
        if (!File.Exists(path)) throw new LoraNetException($"{folder} has no {AdapterFile.TensorFileName}.", "Give the folder that PEFT or loranet wrote.");
        using SafetensorsFile file = SafetensorsFile.Open(path);
        long parameters = file.Tensors.Values.Sum(t => t.Count), damaged = 0;
        List<IReadOnlyList<string>> rows = [];
        JsonArray tensors = [];
        foreach ((string name, HostTensor tensor) in file.Tensors.OrderBy(t => t.Key, StringComparer.Ordinal))
        {
            double norm = Norm(tensor);
            bool bad = !double.IsFinite(norm);
            if (bad) damaged++;
            string shape = string.Join('×', tensor.Shape.ToArray());
            rows.Add([name, shape, tensor.DType.ToString(), bad ? "not finite" : norm.ToString("0.0000", System.Globalization.CultureInfo.InvariantCulture)]);
            tensors.Add((JsonNode)new JsonObject
            {
                ["name"] = name,
                ["shape"] = new JsonArray([.. tensor.Shape.ToArray().Select(d => (JsonNode)d)]),
                ["dtype"] = tensor.DType.ToString(),
                ["norm"] = bad ? null : JsonValue.Create(norm),
            });
        }
        terminal.Table(["", ""],
        [
            ["base model", stored.BaseModelNameOrPath ?? "(not named)"],
            ["method", config.Method?.PeftType ?? "LORA"],
            ["rank, alpha", $"{config.Rank}, {Format.Exact(config.Alpha)} (scaling {(config.UseRsLora ? config.Alpha / Math.Sqrt(config.Rank) : config.Alpha / config.Rank).ToString("0.####", System.Globalization.CultureInfo.InvariantCulture)}{(config.UseRsLora ? ", rsLoRA" : "")})"],
            ["dropout", Format.Exact(config.Dropout)],
            ["target modules", config.TargetModules?.ToString() ?? "(the family's default)"],
            ["bias", config.Bias.ToString().ToLowerInvariant()],
            ["DoRA", config.UseDora ? "yes" : "no"],
            ["trained whole", config.ModulesToSave.Count == 0 ? "none" : string.Join(", ", config.ModulesToSave)],
            ["values", Format.Count(parameters)],
            ["file", Format.Bytes(file.Length)],
        ]);
        terminal.Table(["tensor", "shape", "type", "norm"], rows);
        if (damaged > 0) terminal.Warn($"{damaged} tensors hold NaN or infinity.");
        JsonObject result = [];
        foreach ((string name, string value) in Settings.AdapterLayer.Text(config)) result[name.Replace('-', '_')] = value;
        result["method"] = config.Method?.PeftType.ToLowerInvariant() ?? "lora";
        result["rank"] = config.Rank;
        result["alpha"] = config.Alpha;
        result["dropout"] = config.Dropout;
        result["use_rslora"] = config.UseRsLora;
        result["use_dora"] = config.UseDora;
        result["lora_bias"] = config.LoraBias;
        result["base_model"] = stored.BaseModelNameOrPath;
        result["parameters"] = parameters;
        result["file_bytes"] = file.Length;
        result["tensors"] = tensors;
        terminal.Result(result);
        return ExitCodes.Fine;
    }

    private static double Norm(HostTensor tensor)
    {
        if (!tensor.DType.IsFloat()) return 0;
        double sum = 0;
        foreach (float v in tensor.ToArray()) sum += (double)v * v;
        return Math.Sqrt(sum);
    }
}
