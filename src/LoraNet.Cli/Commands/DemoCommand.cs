using System.CommandLine;
using System.Reflection;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;

namespace LoraNet.Cli.Commands;

/// <summary>
/// <c>loranet demo</c>: <c>train</c> on the model, data and recipe embedded in this program (resources <c>demo/model/…</c>,
/// <c>demo/train.jsonl</c>, <c>demo/eval.jsonl</c>, <c>demo/recipe.yaml</c>), so that it needs no file and no network.
/// </summary>
internal static class DemoCommand
{
    private const string Prefix = "demo/", DefaultOutput = "loranet-demo";

    public static Command Create(CommandContext context)
    {
        Command command = new("demo", "Train an adapter on the embedded tiny model: loss, samples before and after, merge check, report. Takes the flags of train.");
        SettingOptions.AddTo(command, TrainSettings.All, recipe: false);
        Option<bool> json = AllCommands.JsonOption();
        command.Add(json);
        command.SetAction((parse, _) =>
        {
            SettingValues values = SettingOptions.Read(parse, context.Host, TrainSettings.All);
            foreach (string name in new[] { "model", "data", "eval-data" })
                if (values.IsSet(name)) throw values.Error(name, $"the demo brings its own {name}.", "Use 'loranet train' for other files.");
            string output = values.Text("output") ?? DefaultOutput;
            OutputFolder.Check(output, Path.Combine(output, "base"));
            string input = Path.Combine(output, "base");
            Extract(typeof(DemoCommand).Assembly, output, input);
            values.Add("output", output, "demo");
            values.Add("model", input, "demo");
            values.Add("data", Path.Combine(input, "train.jsonl"), "demo");
            values.Add("eval-data", Path.Combine(input, "eval.jsonl"), "demo");
            if (File.Exists(Path.Combine(input, "recipe.yaml"))) RecipeReader.Read(Path.Combine(input, "recipe.yaml"), values);
            return new TrainJob(values, context.Terminal(parse.GetValue(json)), context.Host).RunAsync();
        });
        return command;
    }

    private static void Extract(Assembly assembly, string output, string folder)
    {
        string[] names = [.. assembly.GetManifestResourceNames().Where(n => n.StartsWith(Prefix, StringComparison.Ordinal))];
        if (names.Length == 0) throw new LoraNetException("This build has no embedded model.", "Use 'loranet train' with a model folder.");
        OutputFolder.Prepare(output);
        OutputFolder.Prepare(folder);
        foreach (string name in names)
        {
            string path = Path.Combine(folder, Path.GetFileName(name));
            using Stream resource = assembly.GetManifestResourceStream(name)!;
            Formats.AtomicFile.Write(path, resource.CopyTo, resource.Length);
        }
    }
}
